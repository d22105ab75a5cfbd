//! A process that uses a store: a client, and what it has been told.

#![cfg_attr(not(feature = "redis"), allow(dead_code, reason = "the tests of Redis use the most of it"))]

use crate::common::{DEADLINE, eventually};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use weir::guard::sessions::{self, Loaded};
use weir::guard::store::{Answer, Check, StoreFailure, StoreNews};
use weir::guard::values::{ValueAnswer, ValueRequest};
use weir::shell::stores::{StoreClient, StoreReplies, StoreSettings};

/// What came for the jobs.
type Replies = Arc<(Mutex<HashMap<u64, Result<Vec<Answer>, StoreFailure>>>, Condvar)>;

pub struct Node {
    pub client: StoreClient,
    replies: Replies,
    news: Mutex<Receiver<StoreNews>>,
}

/// Settings for tests on a busy machine: a deadline that only what never answers reaches.
pub fn patient(url: &str) -> StoreSettings {
    let mut settings = StoreSettings::new(url);
    settings.deadline = DEADLINE / 2;
    settings.read_timeout = DEADLINE / 2;
    settings.connect_timeout = DEADLINE / 2;
    settings
}

impl Node {
    /// Starts a client, and waits until it reaches its store.
    #[track_caller]
    pub fn reaching(settings: StoreSettings) -> Node {
        let node = Node::start(settings);
        node.news_until(|news| *news == StoreNews::Reached);
        node
    }

    #[track_caller]
    pub fn start(settings: StoreSettings) -> Node {
        let (replies, (sender, news)) = (Replies::default(), channel());
        let filed = replies.clone();
        let deliver = move |loop_index: usize, replies: StoreReplies| {
            for (job, answers) in replies.iter() {
                assert_eq!(loop_index as u64, job % 7, "the loop that has asked is told");
                let answers = answers.map(<[Answer]>::to_vec);
                let doubled = filed.0.lock().expect("a lock").insert(job, answers);
                assert_eq!(doubled, None, "a job is answered once");
            }
            filed.1.notify_all();
        };
        let tell = move |news| drop(sender.send(news));
        let client = StoreClient::start(settings, deliver, tell, Box::new(|| {}));
        Node { client: client.expect("a client"), replies, news: Mutex::new(news) }
    }

    /// Asks, and waits for the answer.
    #[track_caller]
    pub fn ask(&self, job: u64, checks: Vec<Check>) -> Result<Vec<Answer>, StoreFailure> {
        self.client.ask((job % 7) as usize, std::iter::once((job, checks)));
        self.reply(job)
    }

    #[track_caller]
    pub fn reply(&self, job: u64) -> Result<Vec<Answer>, StoreFailure> {
        let (replies, came) = &*self.replies;
        let waiting = replies.lock().expect("a lock");
        let (mut replies, time) = came
            .wait_timeout_while(waiting, DEADLINE, |replies| !replies.contains_key(&job))
            .expect("a lock");
        assert!(!time.timed_out(), "no answer to job {job}");
        replies.remove(&job).expect("a reply")
    }

    /// All news up to the one that is waited for.
    #[track_caller]
    pub fn news_until(&self, mut is_it: impl FnMut(&StoreNews) -> bool) -> Vec<StoreNews> {
        let receiver = self.news.lock().expect("a lock");
        let mut all = Vec::new();
        loop {
            match receiver.recv_timeout(DEADLINE) {
                Ok(news) => all.push(news),
                Err(_) => panic!("not among the news: {all:?}"),
            }
            if is_it(all.last().expect("news")) {
                return all;
            }
        }
    }

    /// News that are there now.
    pub fn news(&self) -> Vec<StoreNews> {
        self.news.lock().expect("a lock").try_iter().collect()
    }

    /// Asks until the store answers.
    #[track_caller]
    pub fn answered(&self, jobs: &mut std::ops::RangeFrom<u64>, check: &Check) -> Answer {
        eventually("the store answers", || {
            let answers = self.ask(jobs.next().expect("a number"), vec![check.clone()]);
            answers.ok().and_then(|answers| answers.first().copied()).or_else(|| {
                std::thread::sleep(Duration::from_millis(20));
                None
            })
        })
    }
}

pub fn window(key: &str, limit: u32, window_ms: u64) -> Check {
    Check::Window { key: key.into(), limit, window_ms }
}

pub fn is_within(answers: &Result<Vec<Answer>, StoreFailure>) -> bool {
    matches!(answers.as_deref(), Ok([Answer::Window { within: true, .. }]))
}

/// 64 threads with 16 hits each, of which 300 pass.
pub fn exactly_the_limit(nodes: &[Node]) {
    let (within, jobs) = (AtomicU32::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..64 {
            let (node, within, jobs) = (&nodes[number % nodes.len()], &within, &jobs);
            scope.spawn(move || {
                for _ in 0..16 {
                    let job = jobs.fetch_add(1, Ordering::Relaxed);
                    let answers = node.ask(job, vec![window("rate_limit:rate:192.0.2.1", 300, 3_600_000)]);
                    assert!(answers.is_ok(), "{answers:?}");
                    within.fetch_add(u32::from(is_within(&answers)), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(within.load(Ordering::Relaxed), 300);
}

/// Asks for a session, and waits.
#[track_caller]
fn ask_session(node: &Node, request: ValueRequest) -> ValueAnswer {
    let (sender, receiver) = channel();
    node.client.value(request, move |answer| {
        let _ = sender.send(answer);
    });
    receiver.recv_timeout(DEADLINE).expect("an answer")
}

/// Section 7 against a store: `write` puts a text of JSON in the place of a session's payload.
#[track_caller]
pub fn sessions_keep_the_contract(node: &Node, write: impl Fn(&str, &str)) {
    let now_ms = 1_764_421_349_500;
    let id = sessions::new_id(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
    let load = || sessions::loaded(ask_session(node, sessions::load(&id).expect("a request")), now_ms);
    let save = |data: serde_json::Value, timeout_s| {
        let data = data.as_object().expect("a mapping").clone();
        let request =
            sessions::save(&id, data, timeout_s, now_ms).expect("it may be saved").expect("a request");
        assert_eq!(ask_session(node, request), ValueAnswer::Done);
    };
    assert_eq!(load(), Loaded::default());
    let data = serde_json::json!({ "user": "näme", "count": 3, "deep": { "list": [1.5, null, true] } });
    save(data.clone(), 60);
    assert_eq!(
        load(),
        Loaded { data: data.as_object().expect("a mapping").clone(), known: true, delete: false }
    );
    // The last writer wins, and what is empty or has no time left is deleted.
    save(serde_json::json!({ "other": 1 }), 60);
    assert_eq!(load().data.len(), 1);
    save(serde_json::json!({}), 60);
    assert_eq!(load(), Loaded::default());
    save(data, 60);
    let delete = sessions::delete(&id);
    assert_eq!(ask_session(node, delete), ValueAnswer::Done);
    assert_eq!(load(), Loaded::default());
    let of_no_use = Loaded { delete: true, ..Loaded::default() };
    for (payload, expected) in [
        ("[1]", of_no_use.clone()),
        ("\"text\"", of_no_use.clone()),
        ("{\"data\": {\"a\": 1}}", of_no_use.clone()),
        ("{\"data\": {\"a\": 1}, \"expires_at\": \"soon\"}", of_no_use.clone()),
        ("{\"data\": {\"a\": 1}, \"expires_at\": 1764421349.25}", of_no_use),
        ("{\"data\": 5, \"expires_at\": 1764421350.25}", Loaded { known: true, ..Loaded::default() }),
    ] {
        write(&format!("sess:{id}"), payload);
        assert_eq!(load(), expected, "{payload}");
    }
}

/// Values that are kept, as those of pages are: added by the first process only, and there until they are removed.
#[track_caller]
pub fn values_are_added_once(node: &Node) {
    let ask = |request| ask_session(node, request);
    let key = || "weir:link:name".into();
    let load = || ask(ValueRequest::Load { key: key() });
    assert_eq!(load(), ValueAnswer::Absent);
    let add = |text: &str| ask(ValueRequest::Add { key: key(), payload: text.into() });
    let (sender, receiver) = channel();
    for number in 0..8 {
        let sender = sender.clone();
        let request = ValueRequest::Add { key: key(), payload: number.to_string().into() };
        node.client.value(request, move |answer| {
            let _ = sender.send((number, answer));
        });
    }
    let answers: Vec<_> = (0..8).map(|_| receiver.recv_timeout(DEADLINE).expect("an answer")).collect();
    let made: Vec<_> = answers.iter().filter(|(_, answer)| *answer == ValueAnswer::Done).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|(_, answer)| matches!(answer, ValueAnswer::Done | ValueAnswer::Taken)));
    assert_eq!(load(), ValueAnswer::Found(made[0].0.to_string().into()));
    let save = |text: &str| ask(ValueRequest::Save { key: key(), payload: text.into(), ttl_s: None });
    assert_eq!((save("é \"<\r\n"), load()), (ValueAnswer::Done, ValueAnswer::Found("é \"<\r\n".into())));
    assert_eq!(add("again"), ValueAnswer::Taken);
    assert_eq!(ask(ValueRequest::Delete { key: key() }), ValueAnswer::Done);
    assert_eq!(
        (load(), add("again"), load()),
        (ValueAnswer::Absent, ValueAnswer::Done, ValueAnswer::Found("again".into()))
    );
}
