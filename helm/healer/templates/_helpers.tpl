{{- define "healer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "healer.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "healer.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "healer.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "healer.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "healer.selector" . }}
{{- end }}

{{- define "healer.selector" -}}
app.kubernetes.io/name: {{ include "healer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "healer.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "healer.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "healer.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* The settings file. A mounted Secret brings the three tokens, unless the settings name others. */}}
{{- define "healer.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- if .Values.existingSecret }}
{{- $tokens := dict "read_token_file" "/etc/healer/secrets/read" "ingest_token_file" "/etc/healer/secrets/ingest" "approve_token_file" "/etc/healer/secrets/approve" }}
{{- $_ := set $settings "server" (merge (deepCopy (default dict $settings.server)) $tokens) }}
{{- end }}
{{- toYaml $settings }}
{{- end }}
