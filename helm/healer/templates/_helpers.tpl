{{- define "healer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Room is left for the longest suffix: names of objects end at 63 characters. */}}
{{- define "healer.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 44 | trimSuffix "-" }}
{{- else if contains (include "healer.name" .) .Release.Name }}
{{- .Release.Name | trunc 44 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "healer.name" .) | trunc 44 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Roles and bindings of the cluster: two releases of one name in two namespaces stay apart. */}}
{{- define "healer.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "healer.fullname" .) }}
{{- end }}

{{- define "healer.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: healer
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

{{- define "healer.actor" -}}
{{- default (printf "%s-act" (include "healer.fullname" .)) .Values.remediation.serviceAccount.name }}
{{- end }}

{{- define "healer.actorUser" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "healer.actor" .) }}
{{- end }}

{{- define "healer.image" -}}
{{- $repository := .Values.image.repository }}
{{- with .Values.global.imageRegistry }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* The switches that are on, as a list in JSON. */}}
{{- define "healer.armed" -}}
{{- $on := list }}
{{- if .Values.daemon.enabled }}
{{- range $name, $given := .Values.remediation.actions }}
{{- if $given.enabled }}
{{- $on = append $on $name }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $on }}
{{- end }}

{{- /* Rights of the switches that are on: scope → "apiGroup|resource" → verbs, as JSON. */}}
{{- define "healer.rights" -}}
{{- $known := .Files.Get "files/permissions.yaml" | fromYaml }}
{{- $rights := dict "cluster" dict "namespace" dict }}
{{- range $toggle := include "healer.armed" . | fromJsonArray }}
{{- range $right := get $known $toggle }}
{{- $in := get $rights $right.scope }}
{{- $key := printf "%s|%s" $right.apiGroup $right.resource }}
{{- $_ := set $in $key (append (get $in $key | default list) $right.verb | uniq | sortAlpha) }}
{{- end }}
{{- end }}
{{- toJson $rights }}
{{- end }}

{{- define "healer.rules" -}}
{{- range $key, $verbs := . }}
{{- $parts := splitn "|" 2 $key }}
- apiGroups: [{{ $parts._0 | quote }}]
  resources: [{{ $parts._1 | quote }}]
  verbs: {{ toJson $verbs }}
{{- end }}
{{- end }}

{{- define "healer.postgres" -}}
{{- if or .Values.database.existingSecret (hasPrefix "postgresql" (dig "store" "url" "" .Values.settings)) }}true{{ end }}
{{- end }}

{{- define "healer.ownRules" -}}
{{- if or .Values.rules.signals .Values.rules.causes }}true{{ end }}
{{- end }}

{{- /* The settings file: what the values say, laid over what the chart itself knows. */}}
{{- define "healer.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- if .Values.existingSecret }}
{{- $tokens := dict "read_token_file" "/etc/healer/secrets/read" "ingest_token_file" "/etc/healer/secrets/ingest" "approve_token_file" "/etc/healer/secrets/approve" }}
{{- $_ := set $settings "server" (merge (deepCopy (default dict $settings.server)) $tokens) }}
{{- end }}
{{- if include "healer.armed" . | fromJsonArray }}
{{- $actor := dict "act_as" (include "healer.actorUser" .) }}
{{- $_ := set $settings "kubernetes" (merge (deepCopy (default dict $settings.kubernetes)) $actor) }}
{{- end }}
{{- if include "healer.ownRules" . }}
{{- $rules := deepCopy (default dict $settings.rules) }}
{{- $_ := set $rules "folders" (append (default list $rules.folders) "/etc/healer/rules") }}
{{- $_ := set $settings "rules" $rules }}
{{- end }}
{{- if .Values.database.existingSecret }}
{{- $_ := unset $settings "store" }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{- define "healer.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "healer.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
