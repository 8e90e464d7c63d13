//! What servers and networks do wrong, by a server that says what a test wants.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

/// Answers every request by what `answer` makes of its first line and of how many came before, then hangs up.
struct Scripted {
    options: S3Options,
    seen: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Scripted {
    async fn start(answer: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let options = S3Options {
            answer_timeout: Duration::from_secs(2),
            attempts: 3,
            first_delay: Duration::from_millis(1),
            ..S3Options::new(endpoint, "GK0", "hush-hush")
        };
        let seen = Arc::new(Mutex::new(vec![]));
        let requests = seen.clone();
        let answer = Arc::new(answer);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (requests, answer) = (requests.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut socket = BufReader::new(socket);
                    let Some(line) = read_request(&mut socket).await else { return };
                    let number = requests.lock().unwrap().len();
                    requests.lock().unwrap().push(line.clone());
                    let answer = answer(&line, number);
                    let sent = answer.strip_suffix("STALL").unwrap_or(&answer);
                    // A client that knows enough hangs up.
                    let _ = socket.write_all(sent.as_bytes()).await;
                    if answer.ends_with("STALL") {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { options, seen, accepting }
    }

    fn store(&self) -> S3Store {
        S3Store::new(self.options.clone()).unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The first line of a request, which is read to its end.
async fn read_request(socket: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        match line.trim() {
            "" => break,
            line if first.is_empty() => first = line.to_owned(),
            _ => {}
        }
    }
    tokio::io::copy(&mut socket.take(length), &mut tokio::io::sink()).await.ok()?;
    Some(first)
}

fn reply(status: &str, length: usize, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn failure(status: &str, code: &str, message: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    reply(status, body.len(), &body)
}

fn scan() -> ObjectKey {
    ObjectKey::Scan("DOE^JANE/I1".into())
}

async fn get(store: &S3Store) -> Result<Fetched, StoreError> {
    store.get(Read::whole(scan())).await
}

fn found(bytes: &'static str) -> Result<Fetched, StoreError> {
    Ok(Fetched::Found(Object::whole(bytes)))
}

fn assert_says_nothing_of_the_patient(error: &StoreError) {
    let text = format!("{error} {error:?}");
    assert!(!text.contains("DOE") && !text.contains("JANE") && !text.contains("hush"), "{text}");
}

#[tokio::test]
async fn a_body_that_is_cut_is_asked_for_again_and_never_short() {
    let server = Scripted::start(|_, _| reply("200 OK", 100, "short")).await;
    let error = get(&server.store()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_says_nothing_of_the_patient(&error);
    assert_eq!(server.seen().len(), BODY_ATTEMPTS as usize);
    let output = Output { bucket: "runs".into(), path: "x".into(), sha256: Digest::of("short"), length: 100 };
    assert!(server.store().verify(&[output]).await.unwrap_err().is_retryable());
    let once = |_: &str, number| reply("200 OK", 5, if number == 0 { "sh" } else { "whole" });
    let server = Scripted::start(once).await;
    assert_eq!(get(&server.store()).await, found("whole"));
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let server = Scripted::start(|_, _| reply("200 OK", 100, "STALL")).await;
    let options = S3Options { answer_timeout: Duration::from_millis(300), ..server.options.clone() };
    let store = S3Store::new(options).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(30), get(&store)).await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Scripted::start(|_, _| "STALL".into()).await;
    let options = S3Options { answer_timeout: Duration::from_millis(100), ..server.options.clone() };
    let store = S3Store::new(options).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(30), get(&store)).await.unwrap().unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { why, .. } if why.contains("in time")), "{error:?}");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let busy = || failure("503 Slow Down", "SlowDown", "DOE^JANE/I1");
    let twice = move |_: &str, number| if number < 2 { busy() } else { reply("200 OK", 5, "whole") };
    let server = Scripted::start(twice).await;
    assert_eq!(get(&server.store()).await, found("whole"));
    assert_eq!(server.seen().len(), 3);
    let server = Scripted::start(move |_, _| busy()).await;
    let error = server.store().put(scan(), Bytes::new()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { why, .. } if why.contains("SlowDown")), "{error:?}");
    assert_says_nothing_of_the_patient(&error);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_fault_that_may_pass() {
    let options = Scripted::start(|_, _| String::new()).await.options.clone();
    let store = S3Store::new(options).unwrap();
    for error in [get(&store).await.unwrap_err(), store.put(scan(), Bytes::new()).await.unwrap_err()] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_says_nothing_of_the_patient(&error);
    }
}

#[tokio::test]
async fn an_object_that_promises_gigabytes_is_denied_whole_and_read_in_part() {
    let server = Scripted::start(|_, _| reply("200 OK", 2 << 30, "DICM and more")).await;
    assert!(matches!(get(&server.store()).await, Ok(Fetched::Denied(_))));
    // This server ignores the range and sends everything.
    let start = server.store().get(Read::first(scan(), 4)).await;
    let object = Object { bytes: Bytes::from_static(b"DICM"), total: 2 << 30 };
    assert_eq!(start, Ok(Fetched::Found(object)));
}

#[tokio::test]
async fn one_object_that_we_may_not_read_is_denied_and_a_whole_bucket_is_a_fault() {
    let forbidden = || failure("403 Forbidden", "AccessDenied", "DOE^JANE/I1");
    let object_only =
        move |line: &str, _| if line.starts_with("HEAD") { reply("200 OK", 0, "") } else { forbidden() };
    let server = Scripted::start(object_only).await;
    assert!(matches!(get(&server.store()).await, Ok(Fetched::Denied(_))));
    let all = |line: &str, _| {
        if line.starts_with("HEAD") {
            reply("403 Forbidden", 0, "")
        } else {
            failure("403 Forbidden", "AccessDenied", "")
        }
    };
    let server = Scripted::start(all).await;
    let error = get(&server.store()).await.unwrap_err();
    assert!(!error.is_retryable() && error.to_string().contains("modiolus-incoming"), "{error}");
    assert_says_nothing_of_the_patient(&error);
}

#[tokio::test]
async fn answers_are_sorted_by_what_happens_next() {
    let answers = [
        ("507 Insufficient Storage", "StorageFull", "", "full"),
        ("500 Internal Server Error", "InternalError", "IO error: No space left on device", "full"),
        ("500 Internal Server Error", "InternalError", "", "later"),
        ("409 Conflict", "OperationAborted", "", "later"),
        ("403 Forbidden", "RequestTimeTooSkewed", "", "later"),
        ("404 Not Found", "NoSuchUpload", "", "later"),
        ("403 Forbidden", "SignatureDoesNotMatch", "hush-hush", "never"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "", "never"),
        ("400 Bad Request", "KeyTooLongError", "DOE^JANE/I1", "never"),
        ("501 Not Implemented", "NotImplemented", "", "never"),
        ("404 Not Found", "NoSuchBucket", "", "never"),
    ];
    for (status, code, message, sort) in answers {
        let server = Scripted::start(move |_, _| failure(status, code, message)).await;
        let error = server.store().put(scan(), Bytes::new()).await.unwrap_err();
        let sorted = match error {
            StoreError::Full { .. } => "full",
            StoreError::Unavailable { .. } => "later",
            StoreError::Refused { .. } => "never",
        };
        assert_eq!(sorted, sort, "{status} {code}: {error:?}");
        assert_says_nothing_of_the_patient(&error);
    }
}

#[tokio::test]
async fn an_upload_whose_part_fails_is_ended() {
    let server = Scripted::start(|line, _| {
        let begun = "<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>";
        match line.split(' ').next() {
            Some("POST") => reply("200 OK", begun.len(), begun),
            Some("DELETE") => reply("204 No Content", 0, ""),
            _ => failure("400 Bad Request", "InvalidDigest", ""),
        }
    });
    let server = server.await;
    let error = server.store().put(scan(), Bytes::from(vec![0; 20 << 20])).await.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    let last = server.seen().pop().unwrap();
    assert!(last.starts_with("DELETE") && last.contains("uploadId=U1"), "{last}");
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let server = Scripted::start(|_, _| "STALL".into()).await;
    let store = S3Store::new(S3Options { requests: 2, ..server.options.clone() }).unwrap();
    let many = [(); 8].map(|()| Read::whole(scan()));
    let (mut first, mut second) = (store.get_many(&many).boxed(), store.get_many(&many).boxed());
    let three = async {
        while server.seen().len() < 3 {
            assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), three).await.is_err(), "{:?}", server.seen());
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_key_longer_than_s3_allows_is_refused_before_it_is_sent() {
    let server = Scripted::start(|_, _| String::new()).await;
    let long = ObjectKey::Scan("x/".repeat(600) + "y");
    let error = server.store().put(long.clone(), Bytes::new()).await.unwrap_err();
    assert!(!error.is_retryable() && error.to_string().contains("1024"), "{error}");
    assert!(matches!(server.store().get(Read::whole(long)).await, Ok(Fetched::Denied(_))));
    assert_eq!(server.seen(), Vec::<String>::new());
}

#[test]
fn keys_in_lists_are_decoded_as_servers_encode_them() {
    assert_eq!(decoded("a%2Fb+c%20d%2B%25").as_deref(), Some("a/b c d+%"));
    assert_eq!(decoded("%D0%9F").as_deref(), Some("П"));
    assert_eq!(decoded("%FF"), None);
}
