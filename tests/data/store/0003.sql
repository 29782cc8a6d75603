-- The store as schema 0003 left it, with rows: `sqlite3 healer.db .dump`.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE audit (
	sequence INTEGER NOT NULL, 
	incident_id VARCHAR(40) NOT NULL, 
	body TEXT NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (sequence)
);
INSERT INTO "audit" VALUES(1,'inc-1','{"kind":"tested","at":"2026-03-04T00:00:00Z","actor":"tests","incident_id":"inc-1","intent_id":"","target":"","message":"1","detail":{}}','fed823db1f38fd3143dfd9b7cbf3a09f1c136c22b651105d75f8fe7c4f9372e5');
INSERT INTO "audit" VALUES(2,'inc-1','{"kind":"tested","at":"2026-03-04T00:00:00Z","actor":"tests","incident_id":"inc-1","intent_id":"","target":"","message":"2","detail":{}}','2d622d77a77f1d5675a71d028a5755cd3b830fd055ff158edc4f040c94710bbc');
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	sequence INTEGER NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit_head PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,2,'2d622d77a77f1d5675a71d028a5755cd3b830fd055ff158edc4f040c94710bbc');
CREATE TABLE baselines (
	detector VARCHAR(80) NOT NULL, 
	signal VARCHAR(120) NOT NULL, 
	version INTEGER NOT NULL, 
	fitted_at VARCHAR(40) NOT NULL, 
	meta TEXT NOT NULL, 
	arrays BLOB NOT NULL, 
	CONSTRAINT pk_baselines PRIMARY KEY (detector, signal)
);
CREATE TABLE episodes (
	source VARCHAR(32) NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	starts_at VARCHAR(40) NOT NULL, 
	ends_at VARCHAR(40), 
	first_seen VARCHAR(40) NOT NULL, 
	last_seen VARCHAR(40) NOT NULL, 
	seen INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_episodes PRIMARY KEY (source, fingerprint, starts_at)
);
CREATE TABLE incident_facts (
	id VARCHAR(40) NOT NULL, 
	opened_at VARCHAR(40) NOT NULL, 
	phase VARCHAR(24) NOT NULL, 
	cause VARCHAR(80) NOT NULL, 
	detect_s FLOAT NOT NULL, 
	lasted_s FLOAT, 
	curable BOOLEAN NOT NULL, 
	CONSTRAINT pk_incident_facts PRIMARY KEY (id)
);
INSERT INTO "incident_facts" VALUES('inc-1','2026-03-04T11:59:00.000000+00:00','open','engine_hang',60.0,NULL,1);
CREATE TABLE incidents (
	id VARCHAR(40) NOT NULL, 
	opened_at VARCHAR(40) NOT NULL, 
	phase VARCHAR(24) NOT NULL, 
	severity VARCHAR(16) NOT NULL, 
	cause VARCHAR(80) NOT NULL, 
	search TEXT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_incidents PRIMARY KEY (id)
);
INSERT INTO "incidents" VALUES('inc-1','2026-03-04T11:59:00.000000+00:00','open','critical','engine_hang','engine_hang
llama-8b-aaaa makes no tokens
ns=serving
pod:serving/llama-8b-aaaa','{"id":"inc-1","opened_at":"2026-03-04T11:59:00Z","started_at":"2026-03-04T11:58:00Z","updated_at":"2026-03-04T12:00:00Z","phase":"open","severity":"critical","title":"llama-8b-aaaa makes no tokens","targets":[{"kind":"pod","name":"llama-8b-aaaa","namespace":"serving","uid":"uid-a"}],"findings":[{"target":{"kind":"pod","name":"llama-8b-aaaa","namespace":"serving","uid":"uid-a"},"signal":"ttft_p95","detector":"seasonal","level":2,"since":"2026-03-04T11:58:00Z","at":"2026-03-04T12:00:00Z","observed":4.0,"expected_low":0.2,"expected_high":0.6,"score":5.0,"unit":"s","summary":"TTFT p95 4.0 s, expected 0.2–0.6 s","contributions":[]}],"events":[],"diagnosis":{"incident_id":"inc-1","at":"2026-03-04T12:00:00Z","hypotheses":[{"cause":"engine_hang","target":{"kind":"pod","name":"llama-8b-aaaa","namespace":"serving","uid":"uid-a"},"onset":"2026-03-04T11:58:00Z","confidence":0.9,"log_odds":4.0,"title":"The engine hangs","title_zh":"","terms":[],"explains":[],"proposes":["restart_pod"],"min_confidence":0.6,"why_not":"","reference":""}],"abstained":"","would_decide":"","leading_since":null},"resolved_at":null,"quiet_since":null,"version":0,"resolution":"","acted_on":null,"flaps":0,"touches":[]}');
CREATE TABLE intent_facts (
	id VARCHAR(40) NOT NULL, 
	incident_id VARCHAR(40) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	remediation VARCHAR(80) NOT NULL, 
	carried_out BOOLEAN NOT NULL, 
	helped BOOLEAN NOT NULL, 
	wrong BOOLEAN NOT NULL, 
	CONSTRAINT pk_intent_facts PRIMARY KEY (id)
);
INSERT INTO "intent_facts" VALUES('292b465775ddc188','inc-1','planned','restart_pod',0,0,0);
CREATE TABLE intents (
	id VARCHAR(40) NOT NULL, 
	incident_id VARCHAR(40) NOT NULL, 
	created_at VARCHAR(40) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	is_open BOOLEAN NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_intents PRIMARY KEY (id)
);
INSERT INTO "intents" VALUES('292b465775ddc188','inc-1','2026-03-04T12:00:00.000000+00:00','planned',1,'{"id":"292b465775ddc188","plan":{"incident_id":"inc-1","cause":"engine_hang","remediation":"restart_pod","target":{"kind":"pod","name":"llama-8b-aaaa","namespace":"serving","uid":"uid-a"},"actions":[{"target":{"kind":"pod","name":"llama-8b-aaaa","namespace":"serving","uid":"uid-a"},"owner":{"kind":"workload","name":"deployment/llama-8b","namespace":"serving","uid":"uid-w"},"uid":"uid-a","verb":"evict_pod"}],"success":{"signals":["ttft_p95"],"deadline":"PT10M","hold":"PT1M","fresh_samples":3,"replacement":false},"risk":1,"summary":"Evict pod serving/llama-8b-aaaa","undo":[],"undo_when":"","confidence":0.0,"affected_pods":[],"rung":0,"attempt":1,"refused":"","compensates":""},"state":"planned","steps":[{"action":{"target":{"kind":"pod","name":"llama-8b-aaaa","namespace":"serving","uid":"uid-a"},"owner":{"kind":"workload","name":"deployment/llama-8b","namespace":"serving","uid":"uid-w"},"uid":"uid-a","verb":"evict_pod"},"sent_at":null,"receipt":null,"tries":0}],"created_at":"2026-03-04T12:00:00Z","updated_at":"2026-03-04T12:00:00Z","verdicts":[],"digest":"4afc8af42e2f6a0cce6554ead443ebb5410d5f4f297a1a6e750c9ff6dcf5f8bc","approved_by":"","expires_at":null,"executed_at":null,"epoch":"","pods_before":[],"outcome":null,"compensates":"","compensated_by":"","note":""}');
CREATE TABLE opinions (
	incident_id VARCHAR(40) NOT NULL, 
	cause VARCHAR(80) NOT NULL, 
	is_right BOOLEAN NOT NULL, 
	who VARCHAR(120) NOT NULL, 
	at VARCHAR(40) NOT NULL, 
	note TEXT NOT NULL, 
	CONSTRAINT pk_opinions PRIMARY KEY (incident_id, cause)
);
INSERT INTO "opinions" VALUES('inc-1','engine_hang',1,'ada','2026-03-04T12:00:00.000000+00:00','it hung');
CREATE TABLE parcels (
	id INTEGER NOT NULL, 
	channel VARCHAR(80) NOT NULL, 
	notice_key VARCHAR(200) NOT NULL, 
	incident_id VARCHAR(40) NOT NULL, 
	body TEXT NOT NULL, 
	created_at VARCHAR(40) NOT NULL, 
	next_try_at VARCHAR(40), 
	settled BOOLEAN NOT NULL, 
	tries INTEGER NOT NULL, 
	result VARCHAR(16) NOT NULL, 
	code VARCHAR(40) NOT NULL, 
	detail TEXT NOT NULL, 
	updated_at VARCHAR(40) NOT NULL, 
	CONSTRAINT pk_parcels PRIMARY KEY (id), 
	CONSTRAINT uq_parcels_channel_notice_key UNIQUE (channel, notice_key)
);
CREATE TABLE things (
	"key" VARCHAR(120) NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_things PRIMARY KEY ("key")
);
INSERT INTO "things" VALUES('healthy_revisions','["uid-1"]');
CREATE INDEX ix_audit_incident_id ON audit (incident_id);
CREATE INDEX ix_episodes_ends_at ON episodes (ends_at);
CREATE INDEX ix_incidents_opened_at_id ON incidents (opened_at, id);
CREATE INDEX ix_incidents_phase ON incidents (phase);
CREATE INDEX ix_intents_created_at ON intents (created_at);
CREATE INDEX ix_intents_incident_id ON intents (incident_id);
CREATE INDEX ix_parcels_channel_settled ON parcels (channel, settled);
CREATE INDEX ix_parcels_incident_id ON parcels (incident_id);
CREATE INDEX ix_opinions_cause ON opinions (cause);
CREATE INDEX ix_incident_facts_opened_at ON incident_facts (opened_at);
CREATE INDEX ix_intent_facts_incident_id ON intent_facts (incident_id);
COMMIT;
