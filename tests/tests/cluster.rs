//! Five workers, a broker and a store leave the same bytes as one machine, though a worker is killed in the middle.

use std::fs;

use modiolus_broker::{Broker, Events};
use modiolus_pipeline::{Bucket, ObjectKey, StageName};
use modiolus_runtime::Notice;
use modiolus_store::ObjectStore;
use modiolus_tests::cluster::{Cluster, DEADLINE, assert_same, on_one_machine};
use modiolus_tests::scans;
use tokio::time::timeout;

/// Waits for an event of which `wanted` says so.
async fn wait_for(events: &mut Box<dyn Events>, wanted: impl Fn(&Notice) -> bool) {
    let found = async {
        while let Some(event) = events.next().await {
            if Notice::decode(&event).as_ref().is_some_and(&wanted) {
                return;
            }
        }
        panic!("the events ended");
    };
    timeout(DEADLINE, found).await.expect("an event in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_workers_leave_what_one_machine_leaves_though_one_is_killed() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    let calm = on_one_machine(folder.path(), &key, 3, 60);
    let paths = fs::read_dir(folder.path().join("scans")).unwrap();
    let paths: Vec<String> = paths.map(|path| path.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!paths.is_empty());

    let broker = cluster.broker().await;
    let mut events = broker.events().await.unwrap();
    let mut workers = StageName::ALL.map(|stage| (stage, cluster.worker(stage, &key)));
    for (_, worker) in &mut workers {
        worker.wait_until_ready();
        worker.health().with_code(0);
    }
    let run = cluster.submit(&broker, &calm).await;
    let is_infers =
        |notice: &Notice| matches!(notice, Notice::Progress(event) if event.stage == StageName::Infer);
    wait_for(&mut events, is_infers).await;
    let done = cluster.store().length(&ObjectKey::RunDone(run.clone())).await.unwrap();
    assert_eq!(done, None, "the run was done before anything could be killed");
    for (stage, worker) in &mut workers {
        if *stage == StageName::Infer {
            worker.kill_and_start_again();
        }
    }
    cluster.wait_until_done(&mut events, &run).await;

    let wanted = folder.path().join("calm/.modiolus");
    for (bucket, prefix) in
        [(Bucket::Incoming, "index/"), (Bucket::Scans, ""), (Bucket::Results, ""), (Bucket::Runs, "")]
    {
        assert_same(&wanted, cluster.store(), bucket, prefix).await;
    }
    for (stage, worker) in workers {
        let metrics = worker.page("/metrics").unwrap();
        let done = format!("modiolus_jobs_total{{stage=\"{stage}\",outcome=\"done\"}}");
        assert_eq!(metrics.contains(&done), stage != StageName::Train, "{stage}: {metrics}");
        let stopped = worker.stop().with_code(0).saying(&["told to stop", "stopped"]);
        for part in &paths {
            assert!(!stopped.stderr.contains(part.as_str()), "a path of a patient is in a log: {stopped}");
        }
    }
    broker.close().await;
}
