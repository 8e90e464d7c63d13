//! What workers tell of their jobs while a run goes through them.

use std::collections::{BTreeMap, BTreeSet};

use modiolus_broker::Broker;
use modiolus_pipeline::StageName;
use modiolus_tests::cluster::{Cluster, on_one_machine};
use modiolus_tests::scans;
use serde_json::Value;

/// The stages of the main job.
const STAGES: [StageName; 4] =
    [StageName::Ingest, StageName::Filter, StageName::Preprocess, StageName::Infer];

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_through_all_stages_and_log_lines_name_run_job_and_trace() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    let calm = on_one_machine(folder.path(), &key, 1, 30);
    let broker = cluster.broker().await;
    let mut events = broker.events().await.unwrap();
    let told = [("RUST_LOG", "info,modiolus_runtime=debug".to_owned())];
    let workers = STAGES.map(|stage| cluster.worker_with(stage, &key, &told));
    let run = cluster.submit(&broker, &calm).await;
    cluster.wait_until_done(&mut events, &run).await;

    let mut traces: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut jobs, mut spans) = (0, BTreeSet::new());
    for worker in workers {
        let stopped = worker.stop().with_code(0);
        for line in stopped.stderr.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["message"] != "a job is done" {
                continue;
            }
            let text = |name: &str| line["span"][name].as_str().unwrap_or_default().to_owned();
            assert_eq!((text("run"), &line["span"]["attempt"]), (run.to_string(), &Value::from(1)), "{line}");
            assert!(text("job").starts_with(&text("stage")), "{line}");
            traces.entry(text("trace_id")).or_default().insert(text("stage"));
            spans.insert(text("span_id"));
            jobs += 1;
        }
    }
    let all: BTreeSet<String> = STAGES.iter().map(ToString::to_string).collect();
    assert_eq!(traces.into_values().collect::<Vec<_>>(), [all], "one chunk, one trace through all stages");
    assert!(jobs > 4 && spans.len() == jobs, "{jobs} jobs, {} spans", spans.len());
    broker.close().await;
}
