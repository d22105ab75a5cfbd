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
 on_name: the proxy's own resolver is to say.
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
 on_name: the program will say it later, by weir_name_found(). The requests that need the name wait, for 30 seconds at most.
 */
#define WEIR_NAME_LATER 3

/*
 What a function has come to: 0 and above is success, below is an error.
 */
typedef enum {
  /*
   It is done; the proxy goes on.
   */
  WEIR_OK = 0,
  /*
   The proxy has drained, or was told to stop: free it.
   */
  WEIR_ENDED = 1,
  /*
   A pointer is null, a text is not UTF-8, or a size is not one of this version.
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
   The function was called from a callback, or while another thread polls: it is not for there.
   */
  WEIR_ERROR_BUSY = -5,
  /*
   A defect of the library was caught. The proxy does nothing any more: free it.
   */
  WEIR_ERROR_PANIC = -6,
  /*
   The loop has failed. The proxy does nothing any more: free it.
   */
  WEIR_ERROR_FAILED = -7,
  /*
   There is nothing of that name, or no guard to ban with.
   */
  WEIR_ERROR_NOT_FOUND = -8,
  /*
   The guard refuses the ban: it has as many as it may.
   */
  WEIR_ERROR_REFUSED = -9,
} weir_status;

/*
 What on_name has found.
 */
typedef struct weir_addresses weir_addresses;

/*
 What a proxy goes by: options, and files in memory. One thread at a time may use it.
 */
typedef struct weir_config weir_config;

/*
 A proxy. weir_drain(), weir_stop(), weir_ban(), weir_unban(), weir_name_found(), weir_reload(), weir_fd() and weir_address() may be called from any
 thread, until weir_free() is called; all others by one thread at a time.
 */
typedef struct weir_proxy weir_proxy;

/*
 A request, as on_request sees it.
 */
typedef struct weir_request weir_request;

/*
 What on_request decides: the last of refuse, answer and dial holds.
 */
typedef struct weir_ruling weir_ruling;

/*
 Bytes of a request. They are not terminated, and hold until the callback returns.
 */
typedef struct {
  /*
   Not null, even if there are none.
   */
  const char *data;
  /*
   How many bytes.
   */
  size_t length;
} weir_text;

/*
 What the program adds to a configuration. Set all of it to zero, then `size` to sizeof(weir_options): a later version may
 have more members behind these, and takes what an older header does not know for zero.

 All callbacks are called from weir_poll(), and with `workers` above 1 on the threads of the other workers at the same time. They
 must return soon, must not throw, and may call the functions about what they are given, and weir_drain(), weir_stop(),
 weir_ban() and weir_unban(), but no others for this proxy.
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
   Called once for each client connection: 0 refuses it, any other number allows it.
   */
  int (*on_connection)(void *user_data, const char *address, uint16_t port);
  /*
   Called once for each request that rules, users and guard allow. A ruling that is not touched allows it. Both hold until it
   returns.
   */
  void (*on_request)(void *user_data, const weir_request *request, weir_ruling *ruling);
  /*
   Called before a name is looked up: returns WEIR_NAME_ASK, or WEIR_NAME_FOUND with the addresses added, or
   WEIR_NAME_NOT_FOUND.
   */
  int (*on_name)(void *user_data, const char *name, weir_addresses *addresses);
  /*
   Called with lines of the access log, each with its newline and not terminated, once for each turn that has some. Without it
   there is no access log.
   */
  void (*on_log)(void *user_data, const char *lines, size_t length);
  /*
   Sockets that listen already, in place of `host` and `port`. The proxy takes them over, and closes them when it is freed;
   if weir_new() fails, too, but for a wrong `size`. Only with one worker.
   */
  const int *listeners;
  /*
   How many.
   */
  size_t listeners_count;
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
 An empty configuration: every option as weir(1) has it, and files are read from the disk. Free it with weir_config_free();
 null if there is no memory.
 */
weir_config *weir_config_new(void);

/*
 Frees a configuration; null is nothing. Proxies that were made of it go on.

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
 Sets one option, as on the command line: it wins over the text. Options that may be given several times get one more value.
 What is wrong with it is told by weir_new() and weir_reload().

 The program promises:

 `config` comes from weir_config_new(); `name` and `value` are terminated.
 */
weir_status weir_config_set(weir_config *config,
                            const char *name,
                            const char *value);

/*
 Has a file of that name in memory: lists, users, pages, the guard file, as options name them; also /etc/resolv.conf and
 /etc/hosts. The content is copied.

 The program promises:

 `config` comes from weir_config_new(); `name` is terminated; `content` has `length` bytes.
 */
weir_status weir_config_file(weir_config *config,
                             const char *name,
                             const void *content,
                             size_t length);

/*
 Has nothing read from the disk: files that were not given are missing.

 The program promises:

 `config` comes from weir_config_new().
 */
weir_status weir_config_memory_only(weir_config *config);

/*
 The address of the client: the peer, or whom a trusted proxy has named.

 The program promises:

 `request` is what on_request was given.
 */
weir_text weir_request_client(const weir_request *request);

/*
 The authenticated user; empty if users are not asked for.

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
 The host that is asked for: a name in lower case, or an address (IPv6 in brackets).

 The program promises:

 `request` is what on_request was given.
 */
weir_text weir_request_host(const weir_request *request);

/*
 The port that is asked for.

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
 Whether it is the proxy's own request, which renews a stored response: an answer refuses it.

 The program promises:

 `request` is what on_request was given.
 */
bool weir_request_is_refresh(const weir_request *request);

/*
 The value of a field, its name in any case: the first one if there are several. False if there is none.

 The program promises:

 `request` is what on_request was given; `name` is terminated; `value` may be written.
 */
bool weir_request_field(const weir_request *request,
                        const char *name,
                        weir_text *value);

/*
 Refuses the request with the page that other refusals have. `status` is 400 to 599 (403 stands in for any other number); `reason` is
 for the log and the page: a few words, cut at 256 bytes.

 The program promises:

 `ruling` is what on_request was given; `reason` is terminated.
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
 Adds a field to the answer that weir_ruling_answer() has given. Content-Length, Date and Connection are the proxy's own: with
 these the request is refused.

 The program promises:

 `ruling` is what on_request was given; `name` and `value` are terminated.
 */
weir_status weir_ruling_answer_field(weir_ruling *ruling,
                                     const char *name,
                                     const char *value);

/*
 Makes the connection to this address in place of the one that the request names. The rules judge the address: the
 configuration has to allow one that is closed to clients otherwise.

 The program promises:

 `ruling` is what on_request was given; `address` is terminated.
 */
weir_status weir_ruling_dial(weir_ruling *ruling,
                             const char *address,
                             uint16_t port);

/*
 Sets the note of the request in the access log, whatever the verdict: cut at 256 bytes.

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
 Makes a proxy: reads and compiles all files, listens, and starts what threads the configuration asks for (none by default).
 Connections wait until it is polled. `options` may be null. With success `*proxy` is to be freed with weir_free(). With an error it
 is null, and `error` has what is wrong, cut to `error_size` bytes with the terminating zero; `error` may be null.

 The program promises:

 `config` comes from weir_config_new(); `options` is null or as its `size` says; `proxy` may be written; `error` is null or has
 `error_size` bytes.
 */
weir_status weir_new(const weir_config *config,
                     const weir_options *options,
                     weir_proxy **proxy,
                     char *error,
                     size_t error_size);

/*
 Closes everything that the proxy has opened, cuts what is under way and frees the proxy; null is nothing. With several workers
 it waits for their threads. WEIR_ERROR_BUSY, and nothing happens, from a callback.

 The program promises:

 `proxy` is null or comes from weir_new() and was not freed; no other thread uses it.
 */
weir_status weir_free(weir_proxy *proxy);

/*
 Runs one turn of the loop: waits until there is something to do, but not longer than `timeout_ms` (0: not at all; below 0: for as
 long as that takes), and does a bounded part of it. WEIR_OK while the proxy goes on, WEIR_ENDED when it has ended. With several
 workers the turn that ends waits for the others.

 The program promises:

 `proxy` comes from weir_new().
 */
weir_status weir_poll(weir_proxy *proxy,
                      int timeout_ms);

/*
 A descriptor for poll(2), epoll(7) and the like: readable when weir_poll() is to be called. Wait for that, and do nothing else
 with it. It stays the same for as long as the proxy is there. -1 of a null pointer.

 The program promises:

 `proxy` comes from weir_new().
 */
int weir_fd(const weir_proxy *proxy);

/*
 After how many milliseconds weir_poll() is to be called though the descriptor has not become readable: rounded up, 0 for at
 once, -1 for never: as the time-out of epoll_wait(2). Ask before every wait.

 The program promises:

 `proxy` comes from weir_new().
 */
int weir_next_timeout_ms(const weir_proxy *proxy);

/*
 Goes by another configuration, all of it, or fails with everything that is wrong in `error` (as weir_new() does) and changes
 nothing. Takes as long as it takes to compile all files, and does not wait for the loop: what is new holds from its next
 turn.

 The program promises:

 `proxy` comes from weir_new(), `config` from weir_config_new(); `error` is null or has `error_size` bytes.
 */
weir_status weir_reload(const weir_proxy *proxy,
                        const weir_config *config,
                        char *error,
                        size_t error_size);

/*
 Accepts nothing new, finishes what is under way, for `drain-timeout` at most, and ends. Poll until WEIR_ENDED.

 The program promises:

 `proxy` comes from weir_new().
 */
weir_status weir_drain(const weir_proxy *proxy);

/*
 Ends with the next turn: what is under way is cut. Poll once more for WEIR_ENDED, or free the proxy.

 The program promises:

 `proxy` comes from weir_new().
 */
weir_status weir_stop(const weir_proxy *proxy);

/*
 Says where a name leads for which on_name has returned WEIR_NAME_LATER, by WEIR_NAME_FOUND with that many addresses in text,
 WEIR_NAME_NOT_FOUND or WEIR_NAME_ASK. All requests that wait for the name go on; nothing happens if none does. WEIR_ERROR_ARGUMENT if an
 address is none, or for another verdict.

 The program promises:

 `proxy` comes from weir_new(); `name` is terminated, and `addresses` points to `count` terminated texts.
 */
weir_status weir_name_found(const weir_proxy *proxy,
                            const char *name,
                            int verdict,
                            const char *const *addresses,
                            size_t count);

/*
 Bans an address, or a network such as "192.0.2.0/24", for so many seconds; 0 is for ever. `reason` may be null. Connections
 under way of banned clients are cut. WEIR_ERROR_NOT_FOUND without a guard file, WEIR_ERROR_REFUSED if there are as many bans as may
 be.

 The program promises:

 `proxy` comes from weir_new(); the texts are terminated.
 */
weir_status weir_ban(const weir_proxy *proxy,
                     const char *network,
                     uint64_t seconds,
                     const char *reason);

/*
 Ends the ban of an address or network, written as it was banned. WEIR_ERROR_NOT_FOUND if there is none.

 The program promises:

 `proxy` comes from weir_new(); `network` is terminated.
 */
weir_status weir_unban(const weir_proxy *proxy,
                       const char *network);

/*
 Where the proxy listens: writes the address with that index as text ("127.0.0.1:3128") as snprintf(3) does, and returns
 its length; 0 if there is no such index. With port 0 this tells the port that the system has chosen.

 The program promises:

 `proxy` comes from weir_new(); `buffer` is null or has `size` bytes.
 */
size_t weir_address(const weir_proxy *proxy,
                    size_t index,
                    char *buffer,
                    size_t size);

/*
 One number of the statistics, by the name that it has in the statistics line (docs/running.md), such as "requests" or
 "clients"; of all loops together. WEIR_ERROR_NOT_FOUND if there is none of that name.

 The program promises:

 `proxy` comes from weir_new(); `name` is terminated; `value` may be written.
 */
weir_status weir_stats(const weir_proxy *proxy,
                       const char *name,
                       uint64_t *value);

/*
 All numbers in the text format of Prometheus: written as snprintf(3) does, and the length of all of it is returned; 0 from a
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
