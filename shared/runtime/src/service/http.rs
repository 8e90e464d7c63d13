//! `/livez`, `/readyz` and `/metrics`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::pulse::Pulse;
use crate::telemetry::Telemetry;

/// The form of the metrics (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long a probe waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who is asked.
#[derive(Clone)]
pub(super) struct Asked {
    /// Whether it does its work now.
    pub(super) is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(super) pulse: Pulse,
    pub(super) telemetry: Telemetry,
    pub(super) shutdown: CancellationToken,
}

/// Answers until the process ends, also while it drains.
pub(super) async fn serve(listen: SocketAddr, asked: Asked) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let app = routes(asked);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(())
}

fn routes(asked: Asked) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(asked)
}

/// Alive is whose loop goes on, whether or not it reaches anybody.
async fn alive(State(asked): State<Asked>) -> (StatusCode, &'static str) {
    match asked.pulse.goes_on() {
        true => (StatusCode::OK, "alive\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "stopped: it takes nothing any more; start it again\n"),
    }
}

/// Ready is who takes jobs, or serves pages.
async fn ready(State(asked): State<Asked>) -> (StatusCode, &'static str) {
    if asked.shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if (asked.is_ready)() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not at work: the broker or the store is not there yet\n")
    }
}

async fn metrics(State(asked): State<Asked>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPEN_METRICS)], asked.telemetry.text())
}

/// Asks the program that listens here whether it lives.
pub(super) fn ask(listen: SocketAddr) -> ExitCode {
    let address = SocketAddr::new(reachable(listen.ip()), listen.port());
    // No proxy: it is this machine.
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().new_agent();
    match agent.get(format!("http://{address}/livez")).call() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nobody is well at http.listen ({address}): {error}");
            ExitCode::FAILURE
        }
    }
}

/// Who listens on all addresses is reached on this machine's own.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use modiolus_pipeline::StageName;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_whose_loop_has_stopped_is_not_alive_and_one_without_a_broker_is() {
        let asked = Asked {
            is_ready: Arc::new(|| false),
            pulse: Pulse::default(),
            telemetry: Telemetry::default(),
            shutdown: CancellationToken::new(),
        };
        let status = async || alive(State(asked.clone())).await.0;
        assert_eq!(status().await, StatusCode::OK, "it waits for its broker");
        asked.pulse.beat();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_worker_is_ready_while_it_takes_jobs_and_tells_its_counts() {
        let (telemetry, shutdown) = (Telemetry::default(), CancellationToken::new());
        let stage = StageName::Infer;
        let counts = telemetry.clone();
        let worker = Asked {
            is_ready: Arc::new(move || counts.is_subscribed(stage)),
            pulse: Pulse::default(),
            telemetry: telemetry.clone(),
            shutdown: shutdown.clone(),
        };
        let status = async || ready(State(worker.clone())).await.0;
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
        telemetry.subscribed(stage, true);
        assert_eq!(status().await, StatusCode::OK);
        shutdown.cancel();
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes(worker)).await });
        let read = move |path: &str| {
            ureq::get(format!("http://{address}{path}")).call().unwrap().into_body().read_to_string().unwrap()
        };
        let page = tokio::task::spawn_blocking(move || read("/livez") + &read("/metrics")).await.unwrap();
        assert!(
            page.starts_with("alive\n") && page.contains("modiolus_subscribed{stage=\"infer\"} 1"),
            "{page}"
        );
    }
}
