//! The decisions of the program, in callbacks with its own data.

use super::border::{border, bytes, text, weir_status, weir_text};
use super::calls::Calls;
use super::messages::{Messages, OnMessage};
use crate::callback::{Answer, ConnectionVerdict, NameVerdict, RequestVerdict, RequestView, Ruling};
use crate::embed::Builder;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};

/// Options of a program beside the configuration. Set all of it to zero, then `size` to sizeof(weir_options): a later version
/// may have more members behind these, and reads the members that an older header does not have as zero.
///
/// All callbacks are called from weir_poll(), and with `workers` above 1 on the threads of the other workers at the same
/// time. They must return soon, must not throw, and may call the functions for their arguments, and for this proxy those
/// that any thread may call. The others have no effect there: WEIR_ERROR_BUSY, or what they return without a proxy.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct weir_options {
    /// sizeof(weir_options).
    pub size: usize,
    /// Given to every callback.
    pub user_data: *mut c_void,
    /// Called once for each client connection: 0 refuses it with 403, any other number allows it. See on_client.
    pub on_connection:
        Option<unsafe extern "C" fn(user_data: *mut c_void, address: *const c_char, port: u16) -> c_int>,
    /// Called once for each request that rules, users and guard allow. An unchanged ruling allows the request. Request and
    /// ruling are valid until the callback returns.
    pub on_request: Option<
        unsafe extern "C" fn(user_data: *mut c_void, request: *const weir_request, ruling: *mut weir_ruling),
    >,
    /// Called before a name is looked up: returns WEIR_NAME_ASK, or WEIR_NAME_FOUND with the addresses added, or
    /// WEIR_NAME_NOT_FOUND, or WEIR_NAME_LATER, and then weir_name_found() ends the wait.
    pub on_name: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            name: *const c_char,
            addresses: *mut weir_addresses,
        ) -> c_int,
    >,
    /// Called with lines of the access log, each with its newline and not terminated, once for each turn that has lines.
    /// Without this callback there is no access log.
    pub on_log: Option<unsafe extern "C" fn(user_data: *mut c_void, lines: *const c_char, length: usize)>,
    /// Sockets that listen already, in place of `host` and `port`. The proxy owns them, and closes them when it drains, has ended or is
    /// freed; a failure of weir_new() closes them, too, except for WEIR_ERROR_BUSY, and for WEIR_ERROR_ARGUMENT, which a socket below 0,
    /// given twice, or not open, is as well. Only with one worker.
    pub listeners: *const c_int,
    /// The number of sockets.
    pub listeners_count: usize,
    /// Called with each message of the proxy: warnings, errors, and what has happened. `level` is one of WEIR_MESSAGE_ERROR,
    /// WEIR_MESSAGE_WARNING and WEIR_MESSAGE_INFO; `text` is valid until the callback returns. Messages come from weir_new()
    /// and every other function for the proxy, on the thread that calls it, and on the threads of the proxy, if it has any. The
    /// callback may not wait for another thread that uses the proxy. Every function for a proxy has no effect in it, as
    /// described above, also those for any thread. It is not called any more when weir_free() has returned, or weir_new() without a
    /// proxy.
    pub on_message: Option<unsafe extern "C" fn(user_data: *mut c_void, level: c_int, text: *const c_char)>,
    /// Called once for each client connection, in place of on_connection. An unchanged ruling allows the connection;
    /// weir_ruling_refuse() refuses it with a status and a reason, at once. What else a ruling can be is for requests, and
    /// allows the connection, unless the call fails.
    pub on_client: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            address: *const c_char,
            port: u16,
            ruling: *mut weir_ruling,
        ),
    >,
}

/// on_name: the proxy's own resolver looks the name up.
pub const WEIR_NAME_ASK: c_int = 0;
/// on_name: the name has the addresses that were added, if any.
pub const WEIR_NAME_FOUND: c_int = 1;
/// on_name: the name does not exist.
pub const WEIR_NAME_NOT_FOUND: c_int = 2;
/// on_name: the program gives the result later, by weir_name_found(). Requests that need the name wait, for 30 seconds at most.
pub const WEIR_NAME_LATER: c_int = 3;

/// The reason of a refusal in place of a ruling that cannot be carried out.
const WRONG_RULING: &str = "callback_ruling";

/// A request, as on_request sees it.
#[derive(Debug)]
pub struct weir_request {
    view: *const RequestView<'static>,
    client: String,
}

/// The decision of on_request: the last call of refuse, answer or dial counts. If that call fails, weir_ruling_refuse() refuses all the
/// same, and the others refuse with 500 (reason callback_ruling): a request passes only if the program has let it.
#[derive(Debug)]
pub struct weir_ruling(Ruling);

/// The addresses that on_name has found.
#[derive(Debug)]
pub struct weir_addresses(Vec<IpAddr>);

/// The program's own pointer.
#[derive(Clone, Copy)]
struct UserData(*mut c_void);

// SAFETY: the library never reads through the pointer; the header names the threads that call the callbacks.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    /// By a method: a closure that named the field would take the pointer alone with it.
    fn get(self) -> *mut c_void {
        self.0
    }
}

impl weir_options {
    /// The options as far as the program's header has them; further members are zero.
    ///
    /// # Safety
    ///
    /// `options` is null or points to as many bytes as its first member says.
    pub(super) unsafe fn read(options: *const weir_options) -> Result<weir_options, String> {
        let mut known = weir_options {
            size: size_of::<weir_options>(),
            user_data: std::ptr::null_mut(),
            on_connection: None,
            on_request: None,
            on_name: None,
            on_log: None,
            listeners: std::ptr::null(),
            listeners_count: 0,
            on_message: None,
            on_client: None,
        };
        if options.is_null() {
            return Ok(known);
        }
        // SAFETY: `size` is its first member.
        let size = unsafe { options.cast::<usize>().read() };
        let is_whole = size % align_of::<weir_options>() == 0;
        let most = size_of::<weir_options>();
        if size > most {
            return Err(format!(
                "options.size is {size}, but this library, version {}, knows {most} bytes: the program was compiled with a \
                 newer weir.h",
                env!("CARGO_PKG_VERSION")
            ));
        }
        if !is_whole || size < size_of::<usize>() {
            return Err(format!("options.size is {size}: expected sizeof(weir_options)"));
        }
        // SAFETY: both sides have `size` bytes, and zero is a valid value of every member.
        unsafe {
            std::ptr::copy_nonoverlapping(options.cast::<u8>(), (&raw mut known).cast::<u8>(), size);
        }
        Ok(known)
    }

    /// The messages for the function of the program, if it has one.
    pub(super) fn messages(&self) -> Option<Messages> {
        let user_data = UserData(self.user_data);
        let on_message: OnMessage = self.on_message?;
        // SAFETY: the program has promised a function of that type that may be called with its data.
        Some(Messages::new(move |level, text| unsafe { on_message(user_data.get(), level, text) }))
    }

    /// Sets the callbacks of a proxy; `calls` has those that are under way.
    pub(super) fn apply(&self, mut builder: Builder, calls: &Calls) -> Builder {
        let user_data = UserData(self.user_data);
        // SAFETY (of all calls below): the program has promised a function of that type that may be called with its data,
        // and what it is given holds until it returns.
        if let Some(on_log) = self.on_log {
            let calls = calls.clone();
            builder = builder.access_log(move |lines| {
                calls.run(|| unsafe { on_log(user_data.get(), lines.as_ptr().cast(), lines.len()) });
            });
        }
        if let Some(on_connection) = self.on_connection {
            let calls = calls.clone();
            builder = builder.on_connection(move |client| {
                let (address, port) =
                    (CString::new(client.ip().to_string()).unwrap_or_default(), client.port());
                match calls.run(|| unsafe { on_connection(user_data.get(), address.as_ptr(), port) }) {
                    0 => ConnectionVerdict::Refuse { status: 403, reason: String::new() },
                    _ => ConnectionVerdict::Allow,
                }
            });
        }
        if let Some(on_client) = self.on_client {
            let calls = calls.clone();
            builder = builder.on_connection(move |client| {
                let (address, port) =
                    (CString::new(client.ip().to_string()).unwrap_or_default(), client.port());
                let mut ruling = weir_ruling(RequestVerdict::Allow.into());
                calls.run(|| unsafe { on_client(user_data.get(), address.as_ptr(), port, &raw mut ruling) });
                match ruling.0.verdict {
                    RequestVerdict::Refuse { status, reason } => ConnectionVerdict::Refuse { status, reason },
                    RequestVerdict::Allow | RequestVerdict::Answer(_) | RequestVerdict::Dial(_) => {
                        ConnectionVerdict::Allow
                    }
                }
            });
        }
        if let Some(on_request) = self.on_request {
            let calls = calls.clone();
            builder = builder.on_request(move |view| {
                let client = view.client.to_string();
                let request = weir_request { view: std::ptr::from_ref(view).cast(), client };
                let mut ruling = weir_ruling(RequestVerdict::Allow.into());
                calls.run(|| unsafe { on_request(user_data.get(), &raw const request, &raw mut ruling) });
                ruling.0
            });
        }
        if let Some(on_name) = self.on_name {
            let calls = calls.clone();
            builder = builder.on_name(move |name| {
                let name = CString::new(name).unwrap_or_default();
                let mut addresses = weir_addresses(Vec::new());
                match calls.run(|| unsafe { on_name(user_data.get(), name.as_ptr(), &raw mut addresses) }) {
                    WEIR_NAME_FOUND => NameVerdict::Addresses(addresses.0),
                    WEIR_NAME_NOT_FOUND => NameVerdict::NotFound,
                    WEIR_NAME_LATER => NameVerdict::Later,
                    _ => NameVerdict::Ask,
                }
            });
        }
        builder
    }
}

/// The request of a callback, for the getters; `None` for a null pointer.
///
/// # Safety
///
/// `request` is null or the argument of a callback that has not returned.
unsafe fn view(
    request: *const weir_request,
) -> Option<(&'static RequestView<'static>, &'static weir_request)> {
    // SAFETY: request and view are valid until the callback returns; no getter keeps them.
    unsafe {
        let request = request.as_ref()?;
        Some((request.view.as_ref()?, request))
    }
}

/// The address of the client: the peer, or the client that a trusted proxy has named.
///
/// # Safety
///
/// `request` is what on_request was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_request_client(request: *const weir_request) -> weir_text {
    // SAFETY: as the caller has promised; so below.
    weir_text::of(unsafe { view(request) }.map_or(b"", |(_, request)| request.client.as_bytes()))
}

/// The authenticated user; empty if clients need no credentials.
///
/// # Safety
///
/// `request` is what on_request was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_request_user(request: *const weir_request) -> weir_text {
    weir_text::of(unsafe { view(request) }.map_or(b"", |(view, _)| view.user.as_bytes()))
}

/// The method; CONNECT asks for a tunnel.
///
/// # Safety
///
/// `request` is what on_request was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_request_method(request: *const weir_request) -> weir_text {
    weir_text::of(unsafe { view(request) }.map_or(b"", |(view, _)| view.method.as_bytes()))
}

/// The requested host: a name in lower case, or an address (IPv6 in brackets).
///
/// # Safety
///
/// `request` is what on_request was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_request_host(request: *const weir_request) -> weir_text {
    weir_text::of(unsafe { view(request) }.map_or(b"", |(view, _)| view.host.as_bytes()))
}

/// The requested port.
///
/// # Safety
///
/// `request` is what on_request was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_request_port(request: *const weir_request) -> u16 {
    unsafe { view(request) }.map_or(0, |(view, _)| view.port)
}

/// Path and query as they were sent; empty for CONNECT.
///
/// # Safety
///
/// `request` is what on_request was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_request_path(request: *const weir_request) -> weir_text {
    weir_text::of(unsafe { view(request) }.map_or(b"", |(view, _)| view.path))
}

/// The target as the log has it: a URI without user name and password, or host:port for CONNECT.
///
/// # Safety
///
/// `request` is what on_request was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_request_target(request: *const weir_request) -> weir_text {
    weir_text::of(unsafe { view(request) }.map_or(b"", |(view, _)| view.target.as_bytes()))
}

/// Whether the request is the proxy's own, which renews a stored response: an answer refuses it.
///
/// # Safety
///
/// `request` is what on_request was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_request_is_refresh(request: *const weir_request) -> bool {
    unsafe { view(request) }.is_some_and(|(view, _)| view.is_refresh)
}

/// The value of a field, its name in any case: the first value if there are several. False, and an empty value, if the field is missing.
///
/// # Safety
///
/// `request` is what on_request was given; `name` is terminated; `value` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_request_field(
    request: *const weir_request,
    name: *const c_char,
    value: *mut weir_text,
) -> bool {
    // SAFETY: as the caller has promised.
    let (request, name, value) = unsafe { (view(request), text(name), value.as_mut()) };
    let Some(value) = value else { return false };
    let field = request.zip(name.ok()).and_then(|((view, _), name)| view.field(name));
    *value = weir_text::of(field.unwrap_or_default());
    field.is_some()
}

/// Refuses the request, or the connection, with the page of other refusals. `status` is 400 to 599 (403 replaces any other number); `reason` is
/// for the log and the page: a few words, cut at 256 bytes. WEIR_ERROR_ARGUMENT if it is null or not UTF-8; the request is refused
/// with what can be read of it.
///
/// # Safety
///
/// `ruling` is what on_request or on_client was given; `reason` is terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_ruling_refuse(
    ruling: *mut weir_ruling,
    status: u16,
    reason: *const c_char,
) -> weir_status {
    // SAFETY: as the caller has promised; so below.
    border(|| {
        let whole = unsafe { text(reason) };
        let reason = match whole {
            Ok(text) => text.to_owned(),
            Err(_) if reason.is_null() => String::new(),
            Err(_) => unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned(),
        };
        rule(unsafe { ruling.as_mut() }, Ok(RequestVerdict::Refuse { status, reason }))?;
        whole.map(|_| weir_status::WEIR_OK)
    })
}

/// Answers in place of an origin: `status` is 200 to 599 (for CONNECT 300 to 599). Fields and body have 64 KB at most. The body is
/// copied.
///
/// # Safety
///
/// `ruling` is what on_request was given; `body` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_ruling_answer(
    ruling: *mut weir_ruling,
    status: u16,
    body: *const c_void,
    length: usize,
) -> weir_status {
    border(|| {
        let body = unsafe { bytes(body, length) };
        let answer = |body: &[u8]| Answer { status, fields: Vec::new(), body: body.to_vec() };
        rule(unsafe { ruling.as_mut() }, body.map(|body| RequestVerdict::Answer(answer(body))))
    })
}

/// Adds a field to the answer of weir_ruling_answer(). Date, and fields about the length of the message and its connection
/// (Content-Length, Transfer-Encoding, Trailer, Connection, Keep-Alive, Upgrade and the like), belong to the proxy: an answer
/// with one of these fields refuses the request, and so does a field whose name or value is null or not UTF-8. WEIR_ERROR_ARGUMENT,
/// without any effect, if the ruling is no answer.
///
/// # Safety
///
/// `ruling` is what on_request was given; `name` and `value` are terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_ruling_answer_field(
    ruling: *mut weir_ruling,
    name: *const c_char,
    value: *const c_char,
) -> weir_status {
    border(|| {
        let Some(weir_ruling(ruling)) = (unsafe { ruling.as_mut() }) else {
            return Err(weir_status::WEIR_ERROR_ARGUMENT);
        };
        let RequestVerdict::Answer(answer) = &mut ruling.verdict else {
            return Err(weir_status::WEIR_ERROR_ARGUMENT);
        };
        match unsafe { (text(name), text(value)) } {
            (Ok(name), Ok(value)) => {
                answer.fields.push((name.to_owned(), value.to_owned()));
                Ok(weir_status::WEIR_OK)
            }
            (Err(wrong), _) | (_, Err(wrong)) => {
                ruling.verdict = refusal();
                Err(wrong)
            }
        }
    })
}

/// Makes the connection to this address in place of the requested one. The rules judge the address: the configuration
/// has to allow an address that is closed to clients otherwise.
///
/// # Safety
///
/// `ruling` is what on_request was given; `address` is terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_ruling_dial(
    ruling: *mut weir_ruling,
    address: *const c_char,
    port: u16,
) -> weir_status {
    border(|| {
        let address = unsafe { text(address) }.and_then(parse_address);
        let dial = |address| RequestVerdict::Dial(SocketAddr::new(address, port));
        rule(unsafe { ruling.as_mut() }, address.map(dial))
    })
}

/// Sets the note of the request in the access log, for any verdict: cut at 256 bytes.
///
/// # Safety
///
/// `ruling` is what on_request was given; `note` is terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_ruling_note(ruling: *mut weir_ruling, note: *const c_char) -> weir_status {
    border(|| {
        let note = unsafe { text(note) }?.to_owned();
        let weir_ruling(ruling) = unsafe { ruling.as_mut() }.ok_or(weir_status::WEIR_ERROR_ARGUMENT)?;
        ruling.note = note;
        Ok(weir_status::WEIR_OK)
    })
}

/// Adds an address of the name, IPv4 or IPv6 in text.
///
/// # Safety
///
/// `addresses` is what on_name was given; `address` is terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_addresses_add(
    addresses: *mut weir_addresses,
    address: *const c_char,
) -> weir_status {
    border(|| {
        let address = parse_address(unsafe { text(address) }?)?;
        let weir_addresses(all) = unsafe { addresses.as_mut() }.ok_or(weir_status::WEIR_ERROR_ARGUMENT)?;
        all.push(address);
        Ok(weir_status::WEIR_OK)
    })
}

/// Sets the verdict of a ruling. Without a verdict, because what the program gave is wrong, the ruling refuses: an allowance must not
/// remain in its place.
fn rule(
    ruling: Option<&mut weir_ruling>,
    verdict: Result<RequestVerdict, weir_status>,
) -> Result<weir_status, weir_status> {
    let weir_ruling(ruling) = ruling.ok_or(weir_status::WEIR_ERROR_ARGUMENT)?;
    let status = verdict.as_ref().map_or_else(|wrong| Err(*wrong), |_| Ok(weir_status::WEIR_OK));
    ruling.verdict = verdict.unwrap_or_else(|_| refusal());
    status
}

/// The verdict in place of one that cannot be carried out.
fn refusal() -> RequestVerdict {
    RequestVerdict::Refuse { status: 500, reason: WRONG_RULING.to_owned() }
}

pub(super) fn parse_address(address: &str) -> Result<IpAddr, weir_status> {
    address.parse().map_err(|_| weir_status::WEIR_ERROR_ARGUMENT)
}
