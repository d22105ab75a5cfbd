//! The store in MongoDB (guard semantics, sections 5 to 7): one `findAndModify` for each check, through the official driver.
//!
//! Times are this process's, as section 6 demands: the clocks of machines that share a store have to agree within the
//! tolerance of a window. Bans are not shared through MongoDB: it has no channel that every deployment offers, and the
//! reference system has no bans.

mod address;
pub mod pipeline;

use super::asking::{self, ASKERS, Queue};
use super::backend::{self, Backend, Work};
use super::crypto::install_provider;
use super::settings::StoreSettings;
use super::store_state::{Question, StoreState, count};
use crate::guard::store::{Answer, Check, StoreFailure, StoreOrder};
use crate::guard::values::{ValueAnswer, ValueRequest};
use crate::shell::clock::unix_now;
use crate::shell::threads;
use address::{Places, wrong};
use futures_util::future::join_all;
use mio::Poll;
use mongodb::bson::{Bson, DateTime, Document, deserialize_from_bson, doc, serialize_to_bson};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ClientOptions, IndexOptions, ReturnDocument, Tls};
use mongodb::{Client, Collection, Database, IndexModel};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Connections, and so updates that are under way at once (chosen).
const CONNECTIONS_MAX: u32 = 32;

/// Descriptors that a runtime opens (three for its loop, and three for signals).
const RUNTIME_DESCRIPTORS: usize = 6;

/// Prepares the process for runtimes that start in its sandbox, before threads exist. The first runtime of a process opens a pair
/// of Unix sockets for signals, which later runtimes use as well and which the sandbox forbids to open.
pub fn prepare() -> io::Result<()> {
    build(&mut Builder::new_current_thread()).map(drop)
}

/// Builds a runtime. tokio panics if there is no descriptor for the pair of sockets that the first one opens; so the descriptors are
/// opened, and closed again, before.
fn build(builder: &mut Builder) -> io::Result<Runtime> {
    let spare: io::Result<Vec<Poll>> = (0..RUNTIME_DESCRIPTORS).map(|_| Poll::new()).collect();
    drop(spare?);
    builder.enable_all().build()
}

/// Checks the URL of the settings, and the files that it names.
pub(super) fn check(settings: &StoreSettings) -> io::Result<()> {
    let (url, _) = Places::split_off(&settings.url)?;
    let runtime = build(&mut Builder::new_current_thread())?;
    runtime.block_on(connect(&url, settings)).map(drop)
}

/// Starts the threads that ask, the one for values and orders, and the driver's threads.
pub(super) fn start(
    settings: StoreSettings,
    state: &Arc<StoreState>,
    questions: Queue,
    queue: Receiver<Work>,
) -> io::Result<()> {
    let (url, places) = Places::split_off(&settings.url)?;
    // The driver's timers and monitors run while the thread waits for questions.
    let runtime = build(Builder::new_multi_thread().worker_threads(1).thread_name("weir-mongodb"))?;
    let client = runtime.block_on(connect(&url, &settings))?;
    let database = client.database(&places.database);
    let (runtime, deadline) = (Arc::new(runtime), settings.deadline);
    let backend = || MongoBackend {
        runtime: runtime.clone(),
        database: database.clone(),
        escalations: database.collection(&places.escalations),
        windows: database.collection(&places.windows),
        sessions: database.collection(&places.sessions),
        deadline,
        is_indexed: false,
        refusal: RefCell::default(),
        state: state.clone(),
    };
    let questions = Arc::new(questions);
    for _ in 0..ASKERS {
        let (mut asker, questions, state) = (backend(), questions.clone(), state.clone());
        threads::spawn("weir-asker", move || {
            asking::run(&mut asker, &questions, &state, deadline);
            asker.end();
        })?;
    }
    let (mut first, state) = (backend(), state.clone());
    drop(runtime);
    threads::spawn("weir-store", move || {
        backend::run(&mut first, &queue, &state, deadline);
        first.end();
    })?;
    Ok(())
}

/// Creates the client; sends nothing yet.
async fn connect(url: &str, settings: &StoreSettings) -> io::Result<Client> {
    let mut options = options(url).await?;
    if let Some(Tls::Enabled(_)) = options.tls {
        install_provider();
    }
    options.app_name = Some("weir".to_owned());
    options.connect_timeout = Some(settings.connect_timeout);
    // Shorter than the deadline: so an unreachable server is distinguished from a slow one.
    options.server_selection_timeout = Some(settings.deadline * 3 / 4);
    options.max_pool_size = Some(CONNECTIONS_MAX);
    if let Some(password) = &settings.password {
        options.credential.get_or_insert_default().password = Some(password.to_string());
    }
    Client::with_options(options).map_err(|error| wrong(&error.kind.to_string()))
}

/// The settings in a URL.
async fn options(url: &str) -> io::Result<ClientOptions> {
    // The driver's own errors may show the URL, and so a password.
    ClientOptions::parse(url).await.map_err(|_| wrong("no such URL is known to MongoDB"))
}

struct MongoBackend {
    runtime: Arc<Runtime>,
    database: Database,
    escalations: Collection<Document>,
    windows: Collection<Document>,
    sessions: Collection<Document>,
    deadline: Duration,
    is_indexed: bool,
    /// What the server has said last against a question, without secrets.
    refusal: RefCell<Option<String>>,
    state: Arc<StoreState>,
}

fn now_ms() -> i64 {
    i64::try_from(unix_now().as_millis()).unwrap_or(i64::MAX)
}

impl MongoBackend {
    /// The last one ends the runtime. A server that does not answer must not hold the thread.
    fn end(self) {
        if let Some(runtime) = Arc::into_inner(self.runtime) {
            runtime.shutdown_background();
        }
    }

    async fn check(&self, check: &Check) -> Result<Answer, StoreFailure> {
        let now_ms = now_ms();
        match check {
            Check::Window { key, limit, window_ms } => {
                let stages = pipeline::window(*limit, *window_ms, now_ms);
                let document = self.update(&self.windows, key, stages).await?;
                pipeline::window_answer(&document, *limit, *window_ms, now_ms)
            }
            Check::Escalation { key, constants } => {
                let id = pipeline::escalation_id(key);
                let stages = pipeline::escalation(id, constants, now_ms);
                let document = self.update(&self.escalations, id, stages).await?;
                pipeline::escalation_answer(&document, constants, now_ms)
            }
        }
    }

    async fn update(
        &self,
        collection: &Collection<Document>,
        id: &str,
        stages: Vec<Document>,
    ) -> Result<Document, StoreFailure> {
        let update = || {
            let action = collection.find_one_and_update(doc! { "_id": id }, stages.clone());
            self.in_time(action.upsert(true).return_document(ReturnDocument::After).into_future())
        };
        let found = match update().await {
            // Two processes have inserted the document at once: the update finds it now.
            Err(Trouble::Exists) => update().await,
            other => other,
        };
        found.map_err(Trouble::failure)?.ok_or(StoreFailure::Refused)
    }

    async fn in_time<T>(&self, action: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
        match tokio::time::timeout(self.deadline, action).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                let trouble = Trouble::of(&error);
                let is_of_server = matches!(*error.kind, ErrorKind::Command(_));
                let is_refusal = match &trouble {
                    Trouble::Failed(StoreFailure::Refused) => true,
                    Trouble::Failed(StoreFailure::Unreachable) => is_of_server,
                    Trouble::Failed(StoreFailure::Late | StoreFailure::WrongType) | Trouble::Exists => false,
                };
                if is_refusal {
                    self.refusal.replace(Some(error.kind.to_string()));
                }
                Err(trouble)
            }
            Err(_) => Err(Trouble::Failed(StoreFailure::Late)),
        }
    }

    /// Reads one document, in one batch: the driver's own `find` needs a cursor, which is never used here.
    async fn find(
        &self,
        collection: &Collection<Document>,
        filter: Document,
    ) -> Result<Option<Document>, StoreFailure> {
        let find = doc! { "find": collection.name(), "filter": filter, "limit": 1, "singleBatch": true };
        let mut reply =
            self.in_time(self.database.run_command(find).into_future()).await.map_err(Trouble::failure)?;
        let batch = reply.get_document_mut("cursor").and_then(|cursor| cursor.get_array_mut("firstBatch"));
        match batch.map_err(|_| StoreFailure::Refused)?.pop() {
            Some(Bson::Document(document)) => Ok(Some(document)),
            Some(_) => Err(StoreFailure::Refused),
            None => Ok(None),
        }
    }

    async fn value(&self, request: &ValueRequest) -> ValueAnswer {
        let (values, by_key) = (&self.sessions, |key: &str| doc! { "_id": key });
        let done = match request {
            ValueRequest::Load { key } => {
                return match self.find(values, by_key(key)).await {
                    Ok(None) => ValueAnswer::Absent,
                    Ok(Some(mut document)) => {
                        let value = document.remove("value").unwrap_or(Bson::Null);
                        ValueAnswer::Found(deserialize_from_bson(value).unwrap_or_default())
                    }
                    Err(failure) => ValueAnswer::Failed(failure),
                };
            }
            ValueRequest::Save { key, payload, ttl_s } => {
                let Ok(value) = serialize_to_bson(payload) else {
                    return ValueAnswer::Failed(StoreFailure::Refused);
                };
                let update = match ttl_s {
                    Some(ttl_s) => {
                        let life_ms = i64::try_from(ttl_s.saturating_mul(1000)).unwrap_or(i64::MAX);
                        let expire_at = DateTime::from_millis(now_ms().saturating_add(life_ms));
                        doc! { "$set": { "value": value, "expire_at": expire_at } }
                    }
                    None => doc! { "$set": { "value": value }, "$unset": { "expire_at": "" } },
                };
                let action = values.update_one(by_key(key), update).upsert(true);
                self.in_time(action.into_future()).await.map(drop)
            }
            ValueRequest::Add { key, payload } => {
                let Ok(value) = serialize_to_bson(payload) else {
                    return ValueAnswer::Failed(StoreFailure::Refused);
                };
                // Leaves an existing document unchanged, and reports whether there was one.
                let update = doc! { "$setOnInsert": { "value": value } };
                let action = values.update_one(by_key(key), update).upsert(true);
                match self.in_time(action.into_future()).await {
                    Ok(updated) if updated.matched_count > 0 => return ValueAnswer::Taken,
                    Err(Trouble::Exists) => return ValueAnswer::Taken,
                    added => added.map(drop),
                }
            }
            ValueRequest::Delete { key } => {
                self.in_time(values.delete_one(by_key(key)).into_future()).await.map(drop)
            }
        };
        done.map_or_else(|trouble| ValueAnswer::Failed(trouble.failure()), |()| ValueAnswer::Done)
    }

    /// Records whether there is a connection: the driver looks after it, and questions show it.
    fn note(&self, failures: impl Iterator<Item = Option<StoreFailure>>) {
        let refusal = self.last_error();
        let reason = refusal.as_deref().unwrap_or("no server was found");
        for failure in failures {
            self.state.diagnose(|health| match failure {
                Some(StoreFailure::Unreachable) => health.disconnected(reason, Instant::now()),
                Some(StoreFailure::Late | StoreFailure::Refused | StoreFailure::WrongType) => None,
                None => health.connected(),
            });
        }
    }

    /// Makes the server delete expired documents. Readers ignore them in any case.
    async fn index(&self) -> bool {
        let options = IndexOptions::builder().expire_after(Duration::ZERO).build();
        let index = IndexModel::builder().keys(doc! { "expire_at": 1 }).options(options).build();
        for collection in [&self.windows, &self.sessions] {
            if self.in_time(collection.create_index(index.clone()).into_future()).await.is_err() {
                return false;
            }
        }
        true
    }
}

impl Backend for MongoBackend {
    fn ask(&mut self, questions: &[Question]) {
        self.refusal.take();
        let checks = questions.iter().flat_map(|question| &question.checks);
        let outcomes = self.runtime.block_on(join_all(checks.map(|check| self.check(check))));
        self.note(outcomes.iter().map(|outcome| outcome.err()));
        self.state.answer(questions, outcomes.into_iter(), self.last_error().as_deref());
    }

    fn answer_values(&mut self, requests: &[ValueRequest]) -> Vec<ValueAnswer> {
        self.refusal.take();
        // In order: a load behind a save finds the saved value.
        let answers: Vec<_> =
            requests.iter().map(|request| self.runtime.block_on(self.value(request))).collect();
        self.note(answers.iter().map(ValueAnswer::failure));
        answers
    }

    fn last_error(&self) -> Option<String> {
        self.refusal.borrow().clone()
    }

    fn carry_out(&mut self, orders: &[StoreOrder]) -> bool {
        self.refusal.take();
        let mut refused = 0;
        for order in orders {
            let delete = async {
                match order {
                    StoreOrder::Forget(key) => {
                        let id = pipeline::escalation_id(key);
                        self.in_time(self.escalations.delete_one(doc! { "_id": id }).into_future()).await?;
                        self.in_time(self.windows.delete_one(doc! { "_id": &**key }).into_future()).await?;
                    }
                    StoreOrder::ForgetAll(key) => {
                        let found = pipeline::hashed_ids(key);
                        self.in_time(self.escalations.delete_many(found).into_future()).await?;
                    }
                    // MongoDB carries no messages.
                    StoreOrder::Ban { .. } | StoreOrder::Unban(_) | StoreOrder::Unblock(_) => {}
                }
                Ok(())
            };
            match self.runtime.block_on(delete).map_err(Trouble::failure) {
                Ok(()) => {}
                Err(StoreFailure::Refused | StoreFailure::WrongType) => refused += 1,
                Err(StoreFailure::Unreachable | StoreFailure::Late) => return false,
            }
        }
        if refused > 0 {
            count(&self.state.counting.orders_dropped, refused);
            let reason = self.last_error().unwrap_or_else(|| "no reason".to_owned());
            log::error!("the store has refused {refused} orders: {reason}");
        }
        true
    }

    fn look_after_connections(&mut self) {
        self.refusal.take();
        let ping = self.database.run_command(doc! { "ping": 1 });
        let failure = self.runtime.block_on(self.in_time(ping.into_future())).err().map(Trouble::failure);
        self.note(std::iter::once(failure));
        if failure.is_none() && !self.is_indexed {
            self.is_indexed = self.runtime.block_on(self.index());
        }
    }
}

/// The reason why an action failed.
enum Trouble {
    /// A document with this name exists already.
    Exists,
    Failed(StoreFailure),
}

/// The server's code when another writer was first.
const DUPLICATE_KEY: i32 = 11000;

/// Whether the server's code means that a stage of the update does not fit the document: BadValue, TypeMismatch, or one of the
/// assertions of its expressions, which have numbers in place of names.
fn is_of_document(code: i32) -> bool {
    matches!(code, 2 | 14 | 16_000..)
}

/// Whether the server's code means that it is no primary (any more), or shuts down: there will be another one.
fn is_for_now(code: i32) -> bool {
    matches!(code, 91 | 189 | 10_107 | 11_600 | 11_602 | 13_435 | 13_436)
}

impl Trouble {
    fn of(error: &Error) -> Trouble {
        match &*error.kind {
            ErrorKind::Command(error) if error.code == DUPLICATE_KEY => Trouble::Exists,
            ErrorKind::Command(error) if is_of_document(error.code) => {
                Trouble::Failed(StoreFailure::WrongType)
            }
            ErrorKind::Command(error) if is_for_now(error.code) => Trouble::Failed(StoreFailure::Unreachable),
            ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. } => Trouble::Failed(StoreFailure::Unreachable),
            _ => Trouble::Failed(StoreFailure::Refused),
        }
    }

    fn failure(self) -> StoreFailure {
        match self {
            Trouble::Exists => StoreFailure::Refused,
            Trouble::Failed(failure) => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::error::CommandError;

    /// An order waits for a new primary, and is dropped if it never can be carried out.
    #[test]
    fn a_server_that_is_no_primary_any_more_is_away() {
        for (code, expected) in [
            (10_107, StoreFailure::Unreachable),
            (189, StoreFailure::Unreachable),
            (11_600, StoreFailure::Unreachable),
            (13, StoreFailure::Refused),
            (14, StoreFailure::WrongType),
            (DUPLICATE_KEY, StoreFailure::Refused),
        ] {
            let error = doc! { "code": code, "codeName": "Name", "errmsg": "text" };
            let error: CommandError = deserialize_from_bson(error.into()).expect("an error of a command");
            assert_eq!(Trouble::of(&ErrorKind::Command(error).into()).failure(), expected, "{code}");
        }
    }
}
