/*
 * weir: a forward proxy inside a program. docs/embedding.md is the introduction.
 *
 * Made by cbindgen from src/ffi. Texts that are given are terminated and UTF-8, unless a length is beside them, and are copied:
 * the program may free them as soon as a function has returned. Nothing here needs to be thread-safe in the program: unless the
 * configuration asks for workers, the proxy has no thread, and does nothing but in the functions that the program calls.
 */

#ifndef WEIR_H
#define WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 The version of this interface. It grows when a program that was compiled with an older header cannot use the library
 any more; so does the soname. Compare it with weir_abi_version().
 */
#define WEIR_ABI_VERSION 1

/*
 on_message: something does not work.
 */
#define WEIR_MESSAGE_ERROR 1

/*
 on_message: something may not be as it was meant.
 */
#define WEIR_MESSAGE_WARNING 2

/*
 on_message: something has happened. The numbers of `stats-every` come with this level, too.
 */
#define WEIR_MESSAGE_INFO 3

/*
 on_name: the proxy's own resolver looks the name up.
 */
#define WEIR_NAME_ASK 0

/*
 on_name: the name has the addresses that were added, if any.
 */
#define WEIR_NAME_FOUND 1

/*
 on_name: the name does not exist.
 */
#define WEIR_NAME_NOT_FOUND 2

/*
 on_name: the program gives the result later, by weir_name_found(). Requests that need the name wait, for 30 seconds at most.
 */
#define WEIR_NAME_LATER 3

/*
 The result of a function: 0 and above is success, below is an error.
 */
typedef enum {
  /*
   Success; the proxy continues.
   */
  WEIR_OK = 0,
  /*
   The proxy has drained, or was stopped: free it.
   */
  WEIR_ENDED = 1,
  /*
   A pointer is null, a text is not UTF-8, a size is not one of this version, or a value has no meaning.
   */
  WEIR_ERROR_ARGUMENT = -1,
  /*
   The configuration is wrong, or a file that it names.
   */
  WEIR_ERROR_CONFIGURATION = -2,
  /*
   A socket cannot listen.
   */
  WEIR_ERROR_LISTEN = -3,
  /*
   The system refuses something else.
   */
  WEIR_ERROR_SYSTEM = -4,
  /*
   The function was called from a callback, or while another thread polls, where it is not allowed; or too early.
   */
  WEIR_ERROR_BUSY = -5,
  /*
   A defect of the library was caught. The proxy does not work any more: free it.
   */
  WEIR_ERROR_PANIC = -6,
  /*
   The loop has failed. The proxy does not work any more: free it.
   */
  WEIR_ERROR_FAILED = -7,
  /*
   The name is unknown, or no guard file is configured.
   */
  WEIR_ERROR_NOT_FOUND = -8,
  /*
   The guard does not ban that, or has the most bans allowed.
   */
  WEIR_ERROR_REFUSED = -9,
} weir_status;

/*
 The addresses that on_name has found.
 */
typedef struct weir_addresses weir_addresses;

/*
 The configuration of a proxy: options, and files in memory. One thread at a time may use it.
 */
typedef struct weir_config weir_config;

/*
 A proxy. weir_drain(), weir_stop(), weir_ban(), weir_unban(), weir_name_found(), weir_reload(), weir_refresh_addresses(),
 weir_fd() and weir_address() may be called from any thread, until weir_free() is called; all others by one thread at a time.
 */
typedef struct weir_proxy weir_proxy;

/*
 A request, as on_request sees it.
 */
typedef struct weir_request weir_request;

/*
 The decision of on_request: the last call of refuse, answer or dial counts. If that call fails, weir_ruling_refuse() refuses all the
 same, and the others refuse with 500 (reason callback_ruling): a request passes only if the program has let it.
 */
typedef struct weir_ruling weir_ruling;

/*
 Bytes of a request. They are not terminated, and are valid until the callback returns.
 */
typedef struct {
  /*
   Not null, even if `length` is 0.
   */
  const char *data;
  /*
   The number of bytes.
   */
  size_t length;
} weir_text;

/*
 Options of a program beside the configuration. Set all of it to zero, then `size` to sizeof(weir_options): a later version
 may have more members behind these, and reads the members that an older header does not have as zero.

 All callbacks are called from weir_poll(), and with `workers` above 1 on the threads of the other workers at the same
 time. They must return soon, must not throw, and may call the functions for their arguments, and for this proxy those
 that any thread may call. The others have no effect there: WEIR_ERROR_BUSY, or what they return without a proxy.
 */
typedef struct {
  /*
   sizeof(weir_options).
   */
  size_t size;
  /*
   Given to every callback.
   */
  void *user_data;
  /*
   Called once for each client connection: 0 refuses it with 403, any other number allows it. See on_client.
   */
  int (*on_connection)(void *user_data, const char *address, uint16_t port);
  /*
   Called once for each request that rules, users and guard allow. An unchanged ruling allows the request. Request and
   ruling are valid until the callback returns.
   */
  void (*on_request)(void *user_data, const weir_request *request, weir_ruling *ruling);
  /*
   Called before a name is looked up: returns WEIR_NAME_ASK, or WEIR_NAME_FOUND with the addresses added, or
   WEIR_NAME_NOT_FOUND, or WEIR_NAME_LATER, and then weir_name_found() ends the wait.
   */
  int (*on_name)(void *user_data, const char *name, weir_addresses *addresses);
  /*
   Called with lines of the access log, each with its newline and not terminated, once for each turn that has lines.
   Without this callback there is no access log.
   */
  void (*on_log)(void *user_data, const char *lines, size_t length);
  /*
   Sockets that listen already, in place of `host` and `port`. The proxy owns them, and closes them when it drains, has ended or is
   freed; a failure of weir_new() closes them, too, except for WEIR_ERROR_BUSY, and for WEIR_ERROR_ARGUMENT, which a socket below 0,
   given twice, or not open, is as well. Only with one worker.
   */
  const int *listeners;
  /*
   The number of sockets.
   */
  size_t listeners_count;
  /*
   Called with each message of the proxy: warnings, errors, and what has happened. `level` is one of WEIR_MESSAGE_ERROR,
   WEIR_MESSAGE_WARNING and WEIR_MESSAGE_INFO; `text` is valid until the callback returns. Messages come from weir_new()
   and every other function for the proxy, on the thread that calls it, and on the threads of the proxy, if it has any. The
   callback may not wait for another thread that uses the proxy. Every function for a proxy has no effect in it, as
   described above, also those for any thread. It is not called any more when weir_free() has returned, or weir_new() without a
   proxy.
   */
  void (*on_message)(void *user_data, int level, const char *text);
  /*
   Called once for each client connection, in place of on_connection. An unchanged ruling allows the connection;
   weir_ruling_refuse() refuses it with a status and a reason, at once. What else a ruling can be is for requests, and
   allows the connection, unless the call fails.
   */
  void (*on_client)(void *user_data, const char *address, uint16_t port, weir_ruling *ruling);
} weir_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The version of the interface that the library has: WEIR_ABI_VERSION of its header.
 */
uint32_t weir_abi_version(void);

/*
 The version of the library, such as "0.1.0". It is constant and never freed.
 */
const char *weir_version(void);

/*
 A sentence for a status, in English. It is constant and never freed. `status` may be any number.
 */
const char *weir_status_text(int32_t status);

/*
 An empty configuration: every option has its default, and files are read from the disk. Free it with weir_config_free().
 Never null: as everywhere in the library, memory that is exhausted aborts the program.
 */
weir_config *weir_config_new(void);

/*
 Frees a configuration; null has no effect. Proxies made from it continue.

 The program promises:

 `config` is null or comes from weir_config_new() and was not freed.
 */
void weir_config_free(weir_config *config);

/*
 Adds lines of a configuration file: "key value", one option on each.

 The program promises:

 `config` comes from weir_config_new(); `lines` is terminated.
 */
weir_status weir_config_text(weir_config *config, const char *lines);

/*
 Sets one option, as on the command line: it overrides the text. Options with several values get one more value. Errors in
 the value are reported by weir_new() and weir_reload().

 The program promises:

 `config` comes from weir_config_new(); `name` and `value` are terminated.
 */
weir_status weir_config_set(weir_config *config,
                            const char *name,
                            const char *value);

/*
 Keeps a file of that name in memory: lists, users, pages, the guard file, as options name them; also /etc/resolv.conf,
 /etc/hosts, and files in the directory of `cloud-ranges`. The content is copied.

 The program promises:

 `config` comes from weir_config_new(); `name` is terminated; `content` has `length` bytes.
 */
weir_status weir_config_file(weir_config *config,
                             const char *name,
                             const void *content,
                             size_t length);

/*
 Forbids reading from the disk: files that were not given are missing.

 The program promises:

 `config` comes from weir_config_new().
 */
weir_status weir_config_memory_only(weir_config *config);

/*
 The address of the client: the peer, or the client that a trusted proxy has named.

 The program promises:

 `request` is what on_request was given.
 */
weir_text weir_request_client(const weir_request *request);

/*
 The authenticated user; empty if clients need no credentials.

 The program promises:

 `request` is what on_request was given.
 */
weir_text weir_request_user(const weir_request *request);

/*
 The method; CONNECT asks for a tunnel.

 The program promises:

 `request` is what on_request was given.
 */
weir_text weir_request_method(const weir_request *request);

/*
 The requested host: a name in lower case, or an address (IPv6 in brackets).

 The program promises:

 `request` is what on_request was given.
 */
weir_text weir_request_host(const weir_request *request);

/*
 The requested port.

 The program promises:

 `request` is what on_request was given.
 */
uint16_t weir_request_port(const weir_request *request);

/*
 Path and query as they were sent; empty for CONNECT.

 The program promises:

 `request` is what on_request was given.
 */
weir_text weir_request_path(const weir_request *request);

/*
 The target as the log has it: a URI without user name and password, or host:port for CONNECT.

 The program promises:

 `request` is what on_request was given.
 */
weir_text weir_request_target(const weir_request *request);

/*
 Whether the request is the proxy's own, which renews a stored response: an answer refuses it.

 The program promises:

 `request` is what on_request was given.
 */
bool weir_request_is_refresh(const weir_request *request);

/*
 The value of a field, its name in any case: the first value if there are several. False, and an empty value, if the field is missing.

 The program promises:

 `request` is what on_request was given; `name` is terminated; `value` may be written.
 */
bool weir_request_field(const weir_request *request,
                        const char *name,
                        weir_text *value);

/*
 Refuses the request, or the connection, with the page of other refusals. `status` is 400 to 599 (403 replaces any other number); `reason` is
 for the log and the page: a few words, cut at 256 bytes. WEIR_ERROR_ARGUMENT if it is null or not UTF-8; the request is refused
 with what can be read of it.

 The program promises:

 `ruling` is what on_request or on_client was given; `reason` is terminated.
 */
weir_status weir_ruling_refuse(weir_ruling *ruling,
                               uint16_t status,
                               const char *reason);

/*
 Answers in place of an origin: `status` is 200 to 599 (for CONNECT 300 to 599). Fields and body have 64 KB at most. The body is
 copied.

 The program promises:

 `ruling` is what on_request was given; `body` has `length` bytes.
 */
weir_status weir_ruling_answer(weir_ruling *ruling,
                               uint16_t status,
                               const void *body,
                               size_t length);

/*
 Adds a field to the answer of weir_ruling_answer(). Date, and fields about the length of the message and its connection
 (Content-Length, Transfer-Encoding, Trailer, Connection, Keep-Alive, Upgrade and the like), belong to the proxy: an answer
 with one of these fields refuses the request, and so does a field whose name or value is null or not UTF-8. WEIR_ERROR_ARGUMENT,
 without any effect, if the ruling is no answer.

 The program promises:

 `ruling` is what on_request was given; `name` and `value` are terminated.
 */
weir_status weir_ruling_answer_field(weir_ruling *ruling,
                                     const char *name,
                                     const char *value);

/*
 Makes the connection to this address in place of the requested one. The rules judge the address: the configuration
 has to allow an address that is closed to clients otherwise.

 The program promises:

 `ruling` is what on_request was given; `address` is terminated.
 */
weir_status weir_ruling_dial(weir_ruling *ruling,
                             const char *address,
                             uint16_t port);

/*
 Sets the note of the request in the access log, for any verdict: cut at 256 bytes.

 The program promises:

 `ruling` is what on_request was given; `note` is terminated.
 */
weir_status weir_ruling_note(weir_ruling *ruling, const char *note);

/*
 Adds an address of the name, IPv4 or IPv6 in text.

 The program promises:

 `addresses` is what on_name was given; `address` is terminated.
 */
weir_status weir_addresses_add(weir_addresses *addresses, const char *address);

/*
 Builds a proxy: reads and compiles all files, listens, and starts the threads that the configuration needs (none by
 default). Connections wait until the proxy is polled; with `workers` above 1 the other loops serve theirs at once, on their
 own threads, even before this function returns. `options` may be null. On success `*proxy` must be freed with
 weir_free(). On an error it is null, and `error` has the problems, cut to `error_size` bytes with the terminating zero,
 or is empty if the status says all. On success `error` has the warnings, one line each, or is empty.
 `error` may be null.

 The program promises:

 `config` comes from weir_config_new(); `options` is null or has `size` bytes; `proxy` may be written; `error` is null or
 has `error_size` bytes.
 */
weir_status weir_new(const weir_config *config,
                     const weir_options *options,
                     weir_proxy **proxy,
                     char *error,
                     size_t error_size);

/*
 Closes all sockets and files of the proxy, cuts requests under way and frees the proxy; null has no effect. Requests that it cuts
 have no line in the access log, except for those of other workers, which call on_log and on_message meanwhile: weir_stop() before, and
 weir_poll() until WEIR_ENDED, write all lines. Waits for the threads of the proxy, if it has any: for at most a few seconds, if a slow
 password hash is being computed. Does not save the cache: weir_save_cache() does. WEIR_ERROR_BUSY, without any effect, from a callback.

 The program promises:

 `proxy` is null or comes from weir_new() and was not freed; no other thread uses it.
 */
weir_status weir_free(weir_proxy *proxy);

/*
 Runs one turn of the loop: waits for events, at most `timeout_ms` (0: not at all; below 0: without a limit), and handles a
 bounded number of them. WEIR_OK while the proxy continues, WEIR_ENDED when it has ended: with several workers, all of them.

 The program promises:

 `proxy` comes from weir_new().
 */
weir_status weir_poll(weir_proxy *proxy,
                      int timeout_ms);

/*
 A descriptor for poll(2), epoll(7) and the like: readable when weir_poll() is to be called. Only wait for it. It stays the
 same for the life of the proxy. -1 for a null pointer.

 The program promises:

 `proxy` comes from weir_new().
 */
int weir_fd(const weir_proxy *proxy);

/*
 The time in milliseconds after which to call weir_poll() even if the descriptor has not become readable: rounded up, 0 for
 at once, -1 for never: as the time-out of epoll_wait(2). Call this function before every wait.

 The program promises:

 `proxy` comes from weir_new().
 */
int weir_next_timeout_ms(const weir_proxy *proxy);

/*
 Applies another configuration, all of it, or fails with all problems in `error` (as weir_new() does) and changes nothing.
 On success `error` has the warnings, one line each: also which options need a new proxy and keep their old values until
 then, and why name servers stay as they were. Takes as long as compiling all files, and does not wait for the loop: the new
 configuration takes effect with its next turn.

 The program promises:

 `proxy` comes from weir_new(), `config` from weir_config_new(); `error` is null or has `error_size` bytes.
 */
weir_status weir_reload(const weir_proxy *proxy,
                        const weir_config *config,
                        char *error,
                        size_t error_size);

/*
 Reads the addresses of this machine again. Clients may not reach them, as they may not reach loopback; the proxy knows
 those of weir_new() until this function is called. Call it when the addresses change. WEIR_ERROR_SYSTEM, and the known
 addresses stay closed, if the system does not tell them.

 The program promises:

 `proxy` comes from weir_new().
 */
weir_status weir_refresh_addresses(const weir_proxy *proxy);

/*
 Writes the cache to `cache-file`, once, when weir_poll() has returned WEIR_ENDED; weir_free() does not. WEIR_ERROR_BUSY
 before, WEIR_ERROR_NOT_FOUND without that option or if the cache was saved already, WEIR_ERROR_SYSTEM if the file cannot be
 written: the former one stays, on_message gets the reason, and the call may be repeated.

 The program promises:

 `proxy` comes from weir_new().
 */
weir_status weir_save_cache(weir_proxy *proxy);

/*
 Accepts nothing new, finishes requests under way, within `drain-timeout`, and ends. Poll until WEIR_ENDED.

 The program promises:

 `proxy` comes from weir_new().
 */
weir_status weir_drain(const weir_proxy *proxy);

/*
 Ends with the next turn: requests under way are cut. Poll until WEIR_ENDED for the lines of these requests in the access log, or free
 the proxy.

 The program promises:

 `proxy` comes from weir_new().
 */
weir_status weir_stop(const weir_proxy *proxy);

/*
 Gives the result for a name for which on_name has returned WEIR_NAME_LATER: WEIR_NAME_FOUND with `count` addresses in
 text, WEIR_NAME_NOT_FOUND or WEIR_NAME_ASK. All requests that wait for the name continue; no effect if none waits.
 WEIR_ERROR_ARGUMENT for a text that is no address, and for another verdict.

 The program promises:

 `proxy` comes from weir_new(); `name` is terminated, and `addresses` points to `count` terminated texts.
 */
weir_status weir_name_found(const weir_proxy *proxy,
                            const char *name,
                            int verdict,
                            const char *const *addresses,
                            size_t count);

/*
 Bans an address, or a network such as "192.0.2.0/24", for so many seconds, at most 3,650 days; 0 is for ever. `reason` may be
 null, and is cut to 200 bytes. Connections and requests of banned clients are cut. WEIR_ERROR_NOT_FOUND without a guard file,
 WEIR_ERROR_REFUSED if the guard has the most bans allowed, and for loopback, its trusted proxies, and all addresses at once.

 The program promises:

 `proxy` comes from weir_new(); the texts are terminated.
 */
weir_status weir_ban(const weir_proxy *proxy,
                     const char *network,
                     uint64_t seconds,
                     const char *reason);

/*
 Ends the ban of an address or network, written as in the ban. WEIR_ERROR_NOT_FOUND if there is no such ban.

 The program promises:

 `proxy` comes from weir_new(); `network` is terminated.
 */
weir_status weir_unban(const weir_proxy *proxy,
                       const char *network);

/*
 An address that the proxy listens on: writes the address with that index as text ("127.0.0.1:3128") as snprintf(3) does,
 and returns its length; 0 if the index is too large. With port 0 this is the port that the system has chosen.

 The program promises:

 `proxy` comes from weir_new(); `buffer` is null or has `size` bytes.
 */
size_t weir_address(const weir_proxy *proxy,
                    size_t index,
                    char *buffer,
                    size_t size);

/*
 One number of the statistics that is counted, by its name in the statistics line (on_message gets one; docs/limits.md says what
 many of them count), such as "requests" or "clients"; the sum of all loops. Other loops than that of weir_poll() count with what they reported last, which was after the call
 before this one. WEIR_ERROR_NOT_FOUND for an unknown name, for what that line computes from others, such as "blocked_ratio" or
 "clients_by_worker", and for a number of a part that is not on, such as "cache_entries" without `cache yes`.

 The program promises:

 `proxy` comes from weir_new(); `name` is terminated; `value` may be written.
 */
weir_status weir_stats(const weir_proxy *proxy,
                       const char *name,
                       uint64_t *value);

/*
 All numbers in the text format of Prometheus, as of weir_stats(): written as snprintf(3) does; returns the length of the whole text, 0 from a
 callback.

 The program promises:

 `proxy` comes from weir_new(); `buffer` is null or has `size` bytes.
 */
size_t weir_stats_text(const weir_proxy *proxy,
                       char *buffer,
                       size_t size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* WEIR_H */
