//! What workers tell of their jobs while a run goes through them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use modiolus_broker::{Broker, Letter};
use modiolus_pipeline::StageName;
use modiolus_pipeline::topology::Queue;
use modiolus_tests::cluster::{Cluster, on_one_machine};
use modiolus_tests::collector::{Collector, Told, text};
use modiolus_tests::scans;
use serde_json::Value;

/// The stages of the main job.
const STAGES: [StageName; 4] =
    [StageName::Ingest, StageName::Filter, StageName::Preprocess, StageName::Infer];

/// The trace of somebody else, who sends what nobody can read.
const OTHER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Of each job that is done, what its log line says: stage, run, job, trace and span.
fn jobs_done(stderr: &str) -> Vec<[String; 5]> {
    let lines = stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let done = lines.filter(|line| line["message"] == "a job is done");
    let text = |line: &Value, name: &str| line["span"][name].as_str().expect("a text").to_owned();
    done.map(|line| ["stage", "run", "job", "trace_id", "span_id"].map(|name| text(&line, name))).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_through_all_stages_and_logs_and_collector_know_it() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    let calm = on_one_machine(folder.path(), &key, 1, 30);
    let (broker, collector) = (cluster.broker().await, Collector::start().await);
    let mut events = broker.events().await.unwrap();
    let told = [
        ("RUST_LOG", "info,modiolus_runtime=debug".to_owned()),
        ("MODIOLUS__TRACES__OTLP_ENDPOINT", collector.endpoint()),
    ];
    let workers = STAGES.map(|stage| cluster.worker_with(stage, &key, &told));
    let unreadable = Letter::new("no job").with("traceparent", format!("00-{OTHER}-00f067aa0ba902b7-01"));
    broker.publish(Queue::Work(StageName::Ingest), unreadable).await.unwrap();
    let run = cluster.submit(&broker, &calm).await;
    cluster.wait_until_done(&mut events, &run).await;
    for (stage, worker) in STAGES.iter().zip(&workers) {
        metrics_tell(*stage, &worker.page("/metrics").unwrap());
    }
    // Which also tells the last spans.
    let logs: Vec<String> = workers.into_iter().map(|worker| worker.stop().with_code(0).stderr).collect();
    broker.close().await;

    let done: Vec<_> = logs.iter().flat_map(|log| jobs_done(log)).collect();
    let mut traces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for [stage, of, job, trace, _] in &done {
        assert!(*of == run.to_string() && job.starts_with(stage.as_str()), "{stage} {of} {job}");
        traces.entry(trace).or_default().insert(stage);
    }
    let all: BTreeSet<_> = STAGES.map(StageName::as_str).into();
    assert_eq!(traces.values().collect::<Vec<_>>(), [&all], "one chunk, one trace through all stages");
    assert!(logs.iter().any(|log| log.contains(OTHER)), "what can't be read has a trace too");
    let known: BTreeMap<_, _> =
        done.iter().map(|[stage, _, job, _, span]| (span.clone(), (stage, job))).collect();
    assert_eq!(known.len(), done.len(), "each job has a span of its own");
    collector_knows(&collector, &known);
    let delivered = fs::read_dir(folder.path().join("scans")).unwrap();
    for path in delivered.map(|path| path.unwrap().file_name().into_string().unwrap()) {
        let found = collector.bytes().windows(path.len()).any(|bytes| bytes == path.as_bytes());
        assert!(!found, "a path of a patient is in a trace");
    }
}

/// Insists on the numbers of a run of 30 files through this stage, all of them at their first attempt.
fn metrics_tell(stage: StageName, page: &str) {
    let value = |name: &str| {
        let line =
            page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {page}"));
        line.trim().parse::<f64>().unwrap()
    };
    let of = |name: &str| value(&format!("modiolus_{name}{{stage=\"{stage}\"}}"));
    let done = value(&format!("modiolus_jobs_total{{stage=\"{stage}\",outcome=\"done\"}}"));
    let unread = if stage == StageName::Ingest { 1.0 } else { 0.0 };
    assert_eq!(
        (of("queue_age_seconds_count"), of("job_duration_seconds_count")),
        (done + unread, done + unread)
    );
    assert!(of("queue_age_seconds_sum") < 60.0 * done, "{page}");
    assert_eq!((of("job_attempts_sum"), of("job_attempts_count")), (done + unread, done + unread));
    assert!(of("units_total") >= 1.0, "{page}");
    match stage {
        StageName::Ingest => assert_eq!(of("units_total"), 30.0),
        StageName::Filter => assert!(value("modiolus_refused_files_total{reason=\"other-plane\"}") >= 1.0),
        _ => {}
    }
}

/// Insists on a span for each job, whose parent is the span of the job that it follows from.
fn collector_knows(collector: &Collector, known: &BTreeMap<String, (&String, &String)>) {
    let (unread, told): (Vec<Told>, Vec<Told>) =
        collector.spans().into_iter().partition(|told| hex(&told.span.trace_id) == OTHER);
    let [Told { program, span }] = unread.as_slice() else { panic!("{} unread", unread.len()) };
    assert_eq!(
        (program.as_str(), hex(&span.parent_span_id).as_str()),
        ("modiolus-ingest", "00f067aa0ba902b7")
    );
    assert_eq!(text(&span.attributes, "error.type").as_deref(), Some("undecodable"));
    assert_eq!(span.status.as_ref().map(|status| status.code), Some(2), "an error");

    assert_eq!(told.len(), known.len());
    for Told { program, span } in told {
        let (stage, job) = known[&hex(&span.span_id)];
        assert_eq!((&program, &span.name), (&format!("modiolus-{stage}"), stage));
        let names: BTreeSet<&str> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        let wanted = ["stage", "run", "chunk", "job", "attempt"].map(|name| format!("modiolus.{name}"));
        assert_eq!(names, wanted.iter().map(String::as_str).collect::<BTreeSet<_>>());
        assert_eq!(text(&span.attributes, "modiolus.job").as_ref(), Some(job));
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
        let before = STAGES.iter().position(|name| name.as_str() == stage).unwrap().checked_sub(1);
        let parent = known.get(&hex(&span.parent_span_id)).map(|(stage, _)| stage.as_str());
        assert_eq!(parent, before.map(|before| STAGES[before].as_str()), "{stage}");
    }
}
