//! The store in MongoDB: against a server that `TEST_MONGODB_URI` names, or else against a double of one.

use crate::common::{Origin, Scratch, Weir, eventually};
use crate::model::{Constants, Document as Modelled, Hits, REFERENCE, Steps, Verdict, update};
use crate::node::{
    Node, exactly_the_limit, patient, sessions_keep_the_contract, values_are_added_once, window,
};
use mongodb::bson::{Bson, Document, doc, serialize_to_bson};
use mongodb::options::ReturnDocument;
use mongodb::{Client, Collection, Database};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use weir::guard::store::{
    Answer, Check, EscalationConstants, EscalationVerdict, StoreFailure, StoreNews, StoreOrder,
};
use weir::shell::stores::StoreSettings;
use weir::shell::stores::mongodb::pipeline;

const HOUR_MS: u64 = 3_600_000;
const DATABASE: &str = "weir_test";

/// A Python that has what the double needs: the system's, or one of a folder that is made for it.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let can_import = |python: &Path| {
        let command =
            Command::new(python).args(["-c", "import pymongo, mongomock"]).stderr(Stdio::null()).status();
        command.is_ok_and(|status| status.success())
    };
    let found = PYTHON.get_or_init(|| {
        let system = PathBuf::from("python3");
        if can_import(&system) {
            return Some(system);
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mongo-double");
        let own = folder.join("bin/python3");
        if !can_import(&own) {
            let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).status();
            let installed =
                Command::new(&own).args(["-m", "pip", "install", "-q", "pymongo", "mongomock"]).status();
            eprintln!("python for the double: {made:?}, {installed:?}");
        }
        can_import(&own).then_some(own)
    });
    found.as_deref()
}

/// A server, or a double that is killed when dropped.
struct Mongo {
    uri: String,
    child: Option<Child>,
}

impl Mongo {
    /// The server, or a double; `None` if neither can be had, which is a failure in continuous integration.
    fn start() -> Option<Mongo> {
        match std::env::var("TEST_MONGODB_URI") {
            Ok(uri) => Some(Mongo { uri, child: None }),
            Err(_) => Mongo::double(&[]),
        }
    }

    /// A double with these options.
    fn double(options: &[&str]) -> Option<Mongo> {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/doubles/mongo_double.py");
        let script = std::env::var_os("MONGO_DOUBLE").map_or_else(beside, PathBuf::from);
        // It is no part of this repository, so its absence cannot be a failure; the absence of what it needs is one.
        if !script.exists() {
            eprintln!("SKIPPED: no double of MongoDB: {}", script.display());
            return None;
        }
        let Some(python) = python() else {
            assert!(std::env::var_os("CI").is_none(), "the double of MongoDB needs pymongo and mongomock");
            eprintln!("SKIPPED: the double of MongoDB needs pymongo and mongomock");
            return None;
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut command = Command::new(python);
        command.arg(script).args(["--port", &port.to_string()]).args(options).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().expect("the double");
        let mongo = Mongo { uri: format!("mongodb://127.0.0.1:{port}"), child: Some(child) };
        eventually("the double listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Some(mongo)
    }

    /// Settings with the database and with collections of a test of its own.
    fn settings(&self, test: &str) -> StoreSettings {
        let (base, options) = self.uri.split_once('?').unwrap_or((&self.uri, ""));
        let base = base.trim_end_matches('/');
        let names = format!("collection={test}_e&windowsCollection={test}_w&sessionsCollection={test}_s");
        patient(&format!("{base}/{DATABASE}?{options}&{names}"))
    }

    /// A collection past the client under test.
    async fn collection(&self, name: &str) -> Collection<Document> {
        self.database().await.collection(name)
    }

    async fn database(&self) -> Database {
        Client::with_uri_str(&self.uri).await.expect("a client").database(DATABASE)
    }

    /// Empties the collections of a test: a real server may have them from the last time.
    fn emptied(self, test: &str) -> Mongo {
        runtime().block_on(async {
            for end in ["e", "w", "s"] {
                let collection = self.collection(&format!("{test}_{end}")).await;
                collection.delete_many(doc! {}).await.expect("the collection is emptied");
            }
        });
        self
    }
}

impl Drop for Mongo {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

const DEFAULTS: EscalationConstants = EscalationConstants {
    requests_max: 50,
    window_ms: HOUR_MS,
    block_after: 3,
    block_ms: 900_000,
    permanent_after: Some(10),
    permanent_window_ms: 24 * HOUR_MS,
};

#[test]
fn ours_5_exactly_the_limit_passes_over_two_processes_and_64_threads_in_mongodb() {
    let Some(mongo) = Mongo::start() else { return };
    let mongo = mongo.emptied("exact");
    let settings = mongo.settings("exact");
    exactly_the_limit(&[Node::reaching(settings.clone()), Node::reaching(settings)]);
}

#[test]
fn guard_6_fifty_pass_two_are_over_and_the_third_violation_blocks_in_mongodb() {
    let Some(mongo) = Mongo::start() else { return };
    let mongo = mongo.emptied("fifty");
    let node = Node::reaching(mongo.settings("fifty"));
    let ask = |job| {
        let check = Check::Escalation { key: "escalation:192.0.2.1".into(), constants: DEFAULTS };
        node.ask(job, vec![check]).expect("an answer")[0].verdict()
    };
    for request in 1..=50 {
        assert_eq!(ask(request), Some(EscalationVerdict::Pass), "request {request}");
    }
    for request in 51..=52 {
        let answer = ask(request);
        assert!(
            matches!(answer, Some(EscalationVerdict::Over { retry_after_ms: 1..=HOUR_MS })),
            "{answer:?}"
        );
    }
    assert_eq!(ask(53), Some(EscalationVerdict::Blocked { retry_after_ms: 900_000 }));
    // The document has the fields of the reference, and no others.
    let find = || {
        let find = doc! { "find": "fifty_e", "filter": { "_id": "192.0.2.1" } };
        let reply =
            runtime().block_on(async { mongo.database().await.run_command(find).await }).expect("an answer");
        let batch = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        batch.expect("a batch").first().and_then(Bson::as_document).cloned()
    };
    let document = find().expect("a document");
    let mut names: Vec<&str> = document.keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "_id",
        "blocked_until",
        "count",
        "ip",
        "permanent_blocked",
        "permanent_blocked_at",
        "violation_events",
    ];
    assert_eq!(names, [&expected[..], &["violations", "window_start"]].concat());
    node.client.order(StoreOrder::Forget("escalation:192.0.2.1".into()));
    eventually("the document is gone", || find().is_none().then_some(()));
    assert_eq!(ask(54), Some(EscalationVerdict::Pass));
}

/// What is counted of a client for each path, say, has a hash behind the address.
#[test]
fn ours_6_all_keys_of_a_client_are_forgotten_and_no_others_in_mongodb() {
    let Some(mongo) = Mongo::start() else { return };
    let mongo = mongo.emptied("sweep");
    let node = Node::reaching(mongo.settings("sweep"));
    let hash = |digit: &str| digit.repeat(64);
    let keys = [
        format!("escalation:192.0.2.1:{}", hash("a")),
        format!("escalation:192.0.2.1:{}", hash("b")),
        format!("escalation:192.0.2.10:{}", hash("a")),
        "escalation:192.0.2.1".to_owned(),
        format!("escalation:192x0.2.1:{}", hash("a")),
    ];
    let constants = EscalationConstants { requests_max: 1, block_after: 1, ..DEFAULTS };
    let ask = |job: usize, key: &str| {
        let check = Check::Escalation { key: key.into(), constants };
        node.ask(job as u64, vec![check]).expect("an answer")[0].verdict()
    };
    for (number, key) in keys.iter().enumerate() {
        ask(2 * number, key);
        assert_ne!(ask(2 * number + 1, key), Some(EscalationVerdict::Pass), "{key}");
    }
    node.client.order(StoreOrder::ForgetAll("escalation:192.0.2.1".into()));
    let left = || {
        let count = async { mongo.collection("sweep_e").await.count_documents(doc! {}).await };
        runtime().block_on(count).expect("a number")
    };
    eventually("two of five are gone", || (left() == 3).then_some(()));
    for (number, key) in keys.iter().enumerate() {
        let passes = ask(100 + number, key) == Some(EscalationVerdict::Pass);
        assert_eq!(passes, number < 2, "{key}");
    }
}

/// Another program may have written the document.
#[test]
fn a_document_that_holds_something_else_fails_its_own_question_only_in_mongodb() {
    let Some(mongo) = Mongo::start() else { return };
    let mongo = mongo.emptied("other");
    runtime().block_on(async {
        let document = doc! { "_id": "192.0.2.1", "count": "no number" };
        mongo.collection("other_e").await.insert_one(document).await.expect("it is written");
    });
    let node = Node::reaching(mongo.settings("other"));
    let escalation = Check::Escalation { key: "escalation:192.0.2.1".into(), constants: DEFAULTS };
    for job in 1..=3 {
        assert_eq!(node.ask(14 * job, vec![escalation.clone()]), Err(StoreFailure::WrongType));
        assert!(node.ask(14 * job + 7, vec![window("w", 9, HOUR_MS)]).is_ok());
    }
    assert!(!node.news().iter().any(|news| matches!(news, StoreNews::Lost(_))));
}

async fn step(collection: &Collection<Document>, id: &str, stages: Vec<Document>) -> Document {
    let action = collection.find_one_and_update(doc! { "_id": id }, stages).upsert(true);
    action.return_document(ReturnDocument::After).await.expect("an answer").expect("a document")
}

#[test]
fn ours_6_the_pipeline_of_escalation_agrees_with_the_model_step_by_step() {
    let Some(mongo) = Mongo::start() else { return };
    let mongo = mongo.emptied("steps");
    let small = Constants {
        max_requests: 2,
        window: 50,
        block_after: 3,
        block_for: 120,
        perma_after: Some(6),
        perma_window: 1000,
    };
    let never = Constants { perma_after: None, block_after: 2, ..small };
    let at_once = Constants { max_requests: 0, block_after: 1, block_for: 0, perma_after: Some(30), ..small };
    let mut seen = [0; 4];
    runtime().block_on(async {
        let collection = mongo.collection("steps_e").await;
        for (number, constants) in [small, never, at_once, REFERENCE].iter().enumerate() {
            let asked = EscalationConstants {
                requests_max: constants.max_requests as u32,
                window_ms: constants.window as u64,
                block_after: constants.block_after as u32,
                block_ms: constants.block_for as u64,
                permanent_after: constants.perma_after.map(|after| after as u32),
                permanent_window_ms: constants.perma_window as u64,
            };
            let edges =
                [constants.window, constants.block_for, constants.perma_window].map(|edge| edge as u64);
            for seed in 1..4 {
                let (mut documents, mut now) =
                    ([Modelled::default(), Modelled::default()], 1_764_421_349_123_i64);
                for (at, (key, gap)) in Steps::new(seed, 2, &edges).take(250).enumerate() {
                    now += gap as i64;
                    let (document, verdict) = update(&documents[key as usize], now, constants);
                    documents[key as usize] = document;
                    let (kind, expected) = match verdict {
                        Verdict::Pass => (0, EscalationVerdict::Pass),
                        Verdict::Over(wait) => (1, EscalationVerdict::Over { retry_after_ms: wait as u64 }),
                        Verdict::Blocked(wait) => {
                            (2, EscalationVerdict::Blocked { retry_after_ms: wait as u64 })
                        }
                        Verdict::Permanent => (3, EscalationVerdict::Permanent),
                    };
                    let id = format!("{number}:{seed}:{key}");
                    let found = step(&collection, &id, pipeline::escalation(&id, &asked, now)).await;
                    let answer = pipeline::escalation_answer(&found, &asked, now);
                    let place = format!("constants {number}, seed {seed}, step {at}: {found}");
                    assert_eq!(answer.map(Answer::verdict), Ok(Some(expected)), "{place}");
                    seen[kind] += 1;
                }
            }
        }
    });
    assert!(seen.iter().all(|times| *times > 20), "verdicts that were met: {seen:?}");
}

#[test]
fn guard_5_the_pipeline_of_windows_agrees_with_the_model_step_by_step() {
    let Some(mongo) = Mongo::start() else { return };
    let mongo = mongo.emptied("windows");
    runtime().block_on(async {
        let collection = mongo.collection("windows_w").await;
        for seed in 1..12 {
            let (limit, span) = (seed as u32 % 5, 1 + (seed * 37) % 500);
            let (mut hits, mut now) = ([Hits::default(), Hits::default()], 1_764_421_349_123_i64);
            for (at, (key, gap)) in Steps::new(seed, 2, &[span]).take(100).enumerate() {
                now += gap as i64;
                let (within, left, wait) = hits[key as usize].record(limit as usize, span as i64, now);
                let expected = Answer::Window { within, left: left as u32, retry_after_ms: wait as u64 };
                let found =
                    step(&collection, &format!("{seed}:{key}"), pipeline::window(limit, span, now)).await;
                assert!(found.get_array("hits").expect("hits").len() <= limit as usize + 1);
                let answer = pipeline::window_answer(&found, limit, span, now);
                assert_eq!(answer, Ok(expected), "seed {seed}, step {at}, limit {limit}, window {span} ms");
            }
        }
    });
}

#[test]
fn ours_7_values_are_added_once_in_mongodb() {
    let Some(mongo) = Mongo::start() else { return };
    let mongo = mongo.emptied("values");
    values_are_added_once(&Node::reaching(mongo.settings("values")));
}

#[test]
fn guard_7_sessions_keep_their_contract_in_mongodb() {
    let Some(mongo) = Mongo::start() else { return };
    let mongo = mongo.emptied("sessions");
    let node = Node::reaching(mongo.settings("sessions"));
    sessions_keep_the_contract(&node, |key, payload| {
        let payload: serde_json::Value = serde_json::from_str(payload).expect("JSON");
        let value: Bson = serialize_to_bson(&payload).expect("BSON");
        runtime().block_on(async {
            let collection = mongo.collection("sessions_s").await;
            let write =
                collection.update_one(doc! { "_id": key }, doc! { "$set": { "value": value } }).upsert(true);
            write.await.expect("it is written");
        });
    });
}

#[test]
fn fault_13_9_a_server_that_does_not_answer_costs_the_deadline_in_mongodb() {
    let Some(mongo) = Mongo::double(&["--stall-after", "1"]) else { return };
    let mut settings = mongo.settings("stall");
    settings.deadline = Duration::from_millis(300);
    let node = Node::start(settings);
    node.news_until(|news| *news == StoreNews::Reached);
    for job in 1..4 {
        assert_eq!(node.ask(job, vec![window("w", 1, HOUR_MS)]), Err(StoreFailure::Late));
    }
}

#[test]
fn a_server_that_closes_connections_or_is_gone_is_unreachable_in_mongodb() {
    let Some(mut mongo) = Mongo::double(&["--fail-after", "3"]) else { return };
    let node = Node::reaching(mongo.settings("gone"));
    let unreachable = |job| {
        let answers = node.ask(job, vec![window("w", 1, HOUR_MS)]);
        (answers == Err(StoreFailure::Unreachable)).then_some(())
    };
    let mut jobs = 1..;
    eventually("connections are closed", || unreachable(jobs.next().expect("a number")));
    node.news_until(|news| matches!(news, StoreNews::Lost(_)));
    let child = mongo.child.as_mut().expect("a double");
    child.kill().and_then(|()| child.wait()).expect("the double ends");
    let mut settings = mongo.settings("gone");
    settings.deadline = Duration::from_millis(300);
    let node = Node::start(settings);
    node.news_until(|news| matches!(news, StoreNews::Lost(_)));
}

/// Two daemons with all of their sandbox, and what their clients get while the store answers and after it has gone.
#[test]
fn guard_6_two_daemons_count_in_mongodb_and_hold_the_policy_without() {
    let Some(mongo) = Mongo::start() else { return };
    let test = "daemons";
    let mut mongo = mongo.emptied(test);
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let lines = format!(
        "trust 127.0.0.0/8\nlimit 5/10m per client path /l\nescalate 2/10m block 15m after 2 per client path /e\n\
         store {} on-failure closed deadline 5s\n",
        mongo.settings(test).url
    );
    let file = scratch.file("guard.conf", lines);
    let weirs = [0, 1].map(|_| Weir::start(&["--guard", &file]));
    let get = |weir: usize, client: &str, path: &str| {
        let (url, host) = (origin.url(path), origin.address());
        let request = format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\n\r\n");
        weirs[weir].connect().ask(request).status()
    };
    for weir in [0, 1] {
        eventually("the store answers", || (get(weir, "192.0.2.9", "/l") == 200).then_some(()));
    }
    let passed = std::thread::scope(|scope| {
        let ask = |number: usize| scope.spawn(move || get(number % 2, "192.0.2.1", "/l"));
        let threads: Vec<_> = (0..16).map(ask).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a client"))
            .filter(|status| *status == 200)
            .count()
    });
    assert_eq!(passed, 5);
    assert_eq!([0, 1, 0, 1, 0].map(|weir| get(weir, "192.0.2.2", "/e")), [200, 200, 429, 429, 429]);
    let Some(mut child) = mongo.child.take() else { return };
    child.kill().and_then(|()| child.wait()).expect("the end of the double");
    assert_eq!([0, 1].map(|weir| get(weir, "192.0.2.3", "/l")), [503, 503]);
}
