BEGIN TRANSACTION;
CREATE TABLE epoch (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), epoch INTEGER NOT NULL);
INSERT INTO "epoch" VALUES(1,1);
CREATE TABLE events (
                 number     INTEGER PRIMARY KEY,   -- 1, 2, 3 ... without a gap: a gap is a lost event
                 epoch      INTEGER NOT NULL,      -- of the daemon that recorded it
                 wall_s     REAL    NOT NULL,      -- for people; nothing is computed from it
                 version    INTEGER NOT NULL,      -- of the text
                 kind       TEXT    NOT NULL,
                 experiment TEXT,
                 crc        INTEGER NOT NULL,      -- CRC-32 of the text
                 text       TEXT    NOT NULL
               );
INSERT INTO "events" VALUES(1,1,1700000000.0,1,'DaemonStarted',NULL,2660748093,'{"epoch":1,"wall_s":1700000000.0,"kind":"DaemonStarted"}');
INSERT INTO "events" VALUES(2,1,1700000000.0,1,'IdAssigned','k7p2xw',137990144,'{"experiment":"k7p2xw","fingerprint":"f1","copied_from":null,"kind":"IdAssigned"}');
INSERT INTO "events" VALUES(3,1,1700000000.0,1,'IdAssigned','m3q9az',878414572,'{"experiment":"m3q9az","fingerprint":"f1","copied_from":"k7p2xw","kind":"IdAssigned"}');
INSERT INTO "events" VALUES(4,1,1700000000.0,1,'IdWithdrawn','m3q9az',3670404014,'{"experiment":"m3q9az","kind":"IdWithdrawn"}');
INSERT INTO "events" VALUES(5,1,1700000000.0,1,'RowAccepted','k7p2xw',3212970120,'{"experiment":"k7p2xw","spec":{"template":"python-script","argv":["python3","train.py","--lr=0.1","naïve \"text\" $(touch x)\n",""],"resume_argv":["python3","train.py","--resume"],"params":{"lr":0.1,"steps":100,"whole":1.0,"debug":true,"note":"1"},"env":{"OMP_NUM_THREADS":"1"},"secrets":["WANDB_API_KEY"],"code":"c0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0de","cwd":"src","slots":2,"where":"a100","priority":1.5,"grace_s":30.0,"restarts":{"max":5,"backoff_s":0.5,"backoff_max_s":60.0,"healthy_s":120.0},"relaunches":2,"metrics":[{"name":"loss","regex":null},{"name":"acc","regex":"acc=([0-9.]+)"}]},"fingerprint":"f1","wall_s":1700000005.0,"kind":"RowAccepted"}');
INSERT INTO "events" VALUES(6,1,1700000000.0,1,'LaunchIntended','k7p2xw',567566432,'{"attempt":"k7p2xw.1","host":"gpu1","slots":["gpu1/0","gpu1/1"],"nonce":"abababababababababababababababab","kind":"LaunchIntended"}');
INSERT INTO "events" VALUES(7,1,1700000000.0,1,'AttemptStarted','k7p2xw',801553177,'{"attempt":"k7p2xw.1","wall_s":1700000006.0,"kind":"AttemptStarted"}');
INSERT INTO "events" VALUES(8,1,1700000000.0,1,'ActionConsumed','k7p2xw',2897273573,'{"experiment":"k7p2xw","action":"stop","kind":"ActionConsumed"}');
INSERT INTO "events" VALUES(9,1,1700000000.0,1,'StopIntended','k7p2xw',3322506881,'{"attempt":"k7p2xw.1","why":"you asked for it","then":"end","kind":"StopIntended"}');
INSERT INTO "events" VALUES(10,1,1700000000.0,1,'AttemptEnded','k7p2xw',3104658879,'{"attempt":"k7p2xw.1","reason":"stopped_by_user","proof":"exit_record","exit_code":-15,"detail":"stopped","restarts":2,"runtime_s":12.5,"relaunch_delay_s":null,"kind":"AttemptEnded"}');
INSERT INTO "events" VALUES(11,1,1700000000.0,1,'ActionCleared','k7p2xw',612393952,'{"experiment":"k7p2xw","kind":"ActionCleared"}');
INSERT INTO "events" VALUES(12,1,1700000000.0,1,'ExperimentReopened','k7p2xw',2030302225,'{"experiment":"k7p2xw","resume":true,"spec":null,"fingerprint":"","kind":"ExperimentReopened"}');
INSERT INTO "events" VALUES(13,1,1700000000.0,1,'ExperimentReopened','k7p2xw',3334855272,'{"experiment":"k7p2xw","resume":false,"spec":{"template":"python-script","argv":["python3","train.py","--lr=0.1","naïve \"text\" $(touch x)\n",""],"resume_argv":["python3","train.py","--resume"],"params":{"lr":0.1,"steps":100,"whole":1.0,"debug":true,"note":"1"},"env":{"OMP_NUM_THREADS":"1"},"secrets":["WANDB_API_KEY"],"code":"c0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0de","cwd":"src","slots":2,"where":"a100","priority":1.5,"grace_s":30.0,"restarts":{"max":5,"backoff_s":0.5,"backoff_max_s":60.0,"healthy_s":120.0},"relaunches":2,"metrics":[{"name":"loss","regex":null},{"name":"acc","regex":"acc=([0-9.]+)"}]},"fingerprint":"","kind":"ExperimentReopened"}');
INSERT INTO "events" VALUES(14,1,1700000000.0,1,'RowVanished','k7p2xw',572839981,'{"experiment":"k7p2xw","kind":"RowVanished"}');
INSERT INTO "events" VALUES(15,1,1700000000.0,1,'RowReturned','k7p2xw',2134561799,'{"experiment":"k7p2xw","kind":"RowReturned"}');
INSERT INTO "events" VALUES(16,1,1700000000.0,1,'ExperimentWithdrawn','k7p2xw',2653953780,'{"experiment":"k7p2xw","why":"its row was deleted","kind":"ExperimentWithdrawn"}');
CREATE TABLE migrations (
               number INTEGER PRIMARY KEY, name TEXT NOT NULL, sheetd TEXT NOT NULL, wall_s REAL NOT NULL
             );
INSERT INTO "migrations" VALUES(1,'events and epoch','0.1.0',1700000000.0);
CREATE INDEX events_by_experiment ON events (experiment, number);
COMMIT;
