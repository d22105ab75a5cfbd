/* A program that does what it must not, as far as weir.h gives an answer to that: functions in the wrong order, null pointers, sockets
 * that are none, callbacks that call what they may not, also on the threads of workers, and threads that do all at once. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <weir.h>

#define CHECK(holds) check((holds), #holds, __LINE__)
#define CLIENTS 8
#define REQUESTS 25

static void check(int holds, const char *text, int line) {
    if (!holds) {
        fprintf(stderr, "misuse.c:%d: %s (errno %d)\n", line, text, errno);
        exit(1);
    }
}

static void sleep_ms(long ms) {
    struct timespec time = {0, 0};
    time.tv_nsec = ms * 1000000;
    nanosleep(&time, NULL);
}

/* What callbacks, clients and threads have in common. */
struct host {
    weir_proxy *proxy;
    weir_config *config;
    pthread_t main;
    pthread_mutex_t lock;
    unsigned port, ended, elsewhere, refused, logged;
    int workers, over, inside;
};

static unsigned count(struct host *host, unsigned *number, unsigned more) {
    unsigned now;
    pthread_mutex_lock(&host->lock);
    now = *number += more;
    pthread_mutex_unlock(&host->lock);
    return now;
}

/* Everything that a callback may not do says so, and has no effect; what any thread may do at any time works here, too. */
static void misbehave(struct host *host) {
    uint64_t value = 7;
    char text[64];
    CHECK(weir_poll(host->proxy, 0) == WEIR_ERROR_BUSY);
    CHECK(weir_free(host->proxy) == WEIR_ERROR_BUSY);
    CHECK(weir_next_timeout_ms(host->proxy) == -1);
    CHECK(weir_stats(host->proxy, "requests", &value) == WEIR_ERROR_BUSY && value == 7);
    CHECK(weir_stats_text(host->proxy, text, sizeof text) == 0);
    CHECK(weir_fd(host->proxy) >= 0);
    CHECK(weir_address(host->proxy, 0, text, sizeof text) > 0);
    CHECK(weir_ban(host->proxy, "192.0.2.1", 60, "in a callback") == WEIR_OK);
    CHECK(weir_unban(host->proxy, "192.0.2.2") == WEIR_ERROR_NOT_FOUND);
    CHECK(weir_reload(host->proxy, host->config, text, sizeof text) == WEIR_OK);
    if (!pthread_equal(pthread_self(), host->main)) {
        count(host, &host->elsewhere, 1);
    }
}

static int on_connection(void *user_data, const char *address, uint16_t port) {
    CHECK(address[0] != 0 && port != 0);
    misbehave(user_data);
    return 1;
}

static void on_request(void *user_data, const weir_request *request, weir_ruling *ruling) {
    weir_text value;
    value.length = 9;
    misbehave(user_data);
    CHECK(!weir_request_field(request, NULL, &value) && value.length == 0 && !weir_request_field(request, "host", NULL));
    value.length = 9;
    CHECK(!weir_request_field(request, "\xff", &value) && value.length == 0);
    CHECK(!weir_request_field(request, "", &value) && value.length == 0);
    CHECK(weir_ruling_note(ruling, "a\nfalse line") == WEIR_OK);
    CHECK(weir_ruling_note(ruling, NULL) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ruling_refuse(ruling, 403, NULL) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ruling_answer(ruling, 200, NULL, 1) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ruling_answer_field(ruling, "X-A", "1") == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ruling_dial(ruling, "localhost", 80) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ruling_refuse(ruling, 7, "one\r\nX-Evil: 1\r\n\r\n") == WEIR_OK);
    if (weir_request_path(request).length == 2) {
        CHECK(weir_ruling_answer(ruling, 200, "", 0) == WEIR_OK);
        CHECK(weir_ruling_answer_field(ruling, "X-A", "1\r\nX-Evil: 1") == WEIR_OK);
    }
}

static int on_name(void *user_data, const char *name, weir_addresses *addresses) {
    misbehave(user_data);
    (void)name;
    CHECK(weir_addresses_add(addresses, NULL) == WEIR_ERROR_ARGUMENT);
    return 4711;
}

static void on_log(void *user_data, const char *lines, size_t length) {
    struct host *host = user_data;
    const char *newline;
    misbehave(host);
    count(host, &host->logged, 1);
    for (; length > 0; length -= (size_t)(newline + 1 - lines), lines = newline + 1) {
        newline = memchr(lines, '\n', length);
        CHECK(newline != NULL && (lines[0] == '2' || lines[0] == '3'));
    }
}

static int connected(unsigned port) {
    struct sockaddr_in to;
    int client = socket(AF_INET, SOCK_STREAM, 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)port);
    CHECK(client >= 0 && connect(client, (struct sockaddr *)&to, sizeof to) == 0);
    return client;
}

/* A client that asks again and again, each time over a connection of its own. */
static void *client(void *data) {
    struct host *host = data;
    int turn;
    for (turn = 0; turn < REQUESTS; turn++) {
        const char *request =
            turn % 2 ? "GET http://a.example/ HTTP/1.0\r\n\r\n" : "GET http://a.example/x HTTP/1.0\r\n\r\n";
        char answer[4096];
        size_t length = 0;
        ssize_t got;
        int to = connected(host->port);
        CHECK(write(to, request, strlen(request)) == (ssize_t)strlen(request));
        while ((got = read(to, answer + length, sizeof answer - 1 - length)) > 0) {
            length += (size_t)got;
        }
        answer[length] = 0;
        CHECK(strncmp(answer, "HTTP/1.1 ", 9) == 0 && strstr(answer, "\nX-Evil") == NULL);
        count(host, &host->refused, strncmp(answer + 9, "403", 3) == 0);
        close(to);
    }
    count(host, &host->ended, 1);
    return NULL;
}

/* A thread that uses everything that is for any thread, and what is for one at a time. */
static void *meddler(void *data) {
    struct host *host = data;
    char text[256];
    int over;
    do {
        uint64_t value;
        /* With workers, callbacks on other threads are to be those of workers. */
        weir_status status = host->workers == 1 ? weir_poll(host->proxy, 0) : WEIR_OK;
        CHECK(status == WEIR_OK || status == WEIR_ERROR_BUSY);
        status = weir_stats(host->proxy, "requests", &value);
        CHECK(status == WEIR_OK || status == WEIR_ERROR_BUSY);
        (void)weir_next_timeout_ms(host->proxy);
        (void)weir_stats_text(host->proxy, text, sizeof text);
        CHECK(weir_ban(host->proxy, "192.0.2.77", 1, NULL) == WEIR_OK);
        status = weir_unban(host->proxy, "192.0.2.77");
        CHECK(status == WEIR_OK || status == WEIR_ERROR_NOT_FOUND);
        CHECK(weir_name_found(host->proxy, "a.example", WEIR_NAME_NOT_FOUND, NULL, 0) == WEIR_OK);
        CHECK(weir_name_found(host->proxy, "no name", WEIR_NAME_ASK, NULL, 0) == WEIR_OK);
        CHECK(weir_name_found(host->proxy, "a.example", WEIR_NAME_FOUND, NULL, 1) == WEIR_ERROR_ARGUMENT);
        CHECK(weir_reload(host->proxy, host->config, text, sizeof text) == WEIR_OK);
        pthread_mutex_lock(&host->lock);
        over = host->over;
        pthread_mutex_unlock(&host->lock);
        sleep_ms(1);
    } while (!over);
    return NULL;
}

static weir_config *configuration(const char *more) {
    weir_config *config = weir_config_new();
    CHECK(config != NULL && weir_config_memory_only(config) == WEIR_OK);
    CHECK(weir_config_text(config, "host 127.0.0.1\nport 0\nguard guard.conf\n") == WEIR_OK);
    CHECK(weir_config_file(config, "guard.conf", "", 0) == WEIR_OK && weir_config_text(config, more) == WEIR_OK);
    return config;
}

static weir_options callbacks(struct host *host) {
    weir_options options = {0};
    options.size = sizeof options;
    options.user_data = host;
    options.on_connection = on_connection;
    options.on_request = on_request;
    options.on_name = on_name;
    options.on_log = on_log;
    return options;
}

static unsigned port_of(const weir_proxy *proxy) {
    char text[64];
    CHECK(weir_address(proxy, 0, text, sizeof text) > 0);
    return (unsigned)atoi(strrchr(text, ':') + 1);
}

/* Callbacks and threads that misbehave, on one loop and on three. Meanwhile this thread is not in the proxy most of the time, so that
 * nothing but the callback itself can tell weir_free() to wait. */
static void crowd(const char *more, int workers) {
    struct host host;
    pthread_t clients[CLIENTS], meddlers[2];
    weir_options options = callbacks(&host);
    int index;
    memset(&host, 0, sizeof host);
    host.main = pthread_self();
    host.workers = workers;
    host.config = configuration(more);
    pthread_mutex_init(&host.lock, NULL);
    CHECK(weir_new(host.config, &options, &host.proxy, NULL, 0) == WEIR_OK);
    host.port = port_of(host.proxy);
    for (index = 0; index < CLIENTS; index++) {
        CHECK(pthread_create(&clients[index], NULL, client, &host) == 0);
    }
    for (index = 0; index < 2; index++) {
        CHECK(pthread_create(&meddlers[index], NULL, meddler, &host) == 0);
    }
    while (count(&host, &host.ended, 0) < CLIENTS) {
        weir_status status = weir_poll(host.proxy, 0);
        CHECK(status == WEIR_OK || status == WEIR_ERROR_BUSY);
        sleep_ms(1);
    }
    pthread_mutex_lock(&host.lock);
    host.over = 1;
    pthread_mutex_unlock(&host.lock);
    for (index = 0; index < CLIENTS; index++) {
        CHECK(pthread_join(clients[index], NULL) == 0);
    }
    for (index = 0; index < 2; index++) {
        CHECK(pthread_join(meddlers[index], NULL) == 0);
    }
    CHECK(host.refused > 0 && host.elsewhere > 0);
    CHECK(weir_free(host.proxy) == WEIR_OK);
    weir_config_free(host.config);
    pthread_mutex_destroy(&host.lock);
}

/* Freed with half requests on other workers: their lines come meanwhile, and their callbacks may do what they always may. */
static void freed_at_work(void) {
    struct host host;
    weir_options options = callbacks(&host);
    int clients[4 * CLIENTS], index;
    memset(&host, 0, sizeof host);
    host.main = pthread_self();
    host.workers = 3;
    host.config = configuration("workers 3\n");
    pthread_mutex_init(&host.lock, NULL);
    CHECK(weir_new(host.config, &options, &host.proxy, NULL, 0) == WEIR_OK);
    host.port = port_of(host.proxy);
    for (index = 0; index < 4 * CLIENTS; index++) {
        clients[index] = connected(host.port);
        CHECK(write(clients[index], "GET http://a.example/ HT", 24) == 24);
    }
    while (count(&host, &host.elsewhere, 0) < CLIENTS) {
        sleep_ms(1);
    }
    CHECK(host.logged == 0 && weir_free(host.proxy) == WEIR_OK && host.logged > 0);
    for (index = 0; index < 4 * CLIENTS; index++) {
        close(clients[index]);
    }
    weir_config_free(host.config);
    pthread_mutex_destroy(&host.lock);
}

/* A proxy inside a callback of another one: made, asked, polled and freed there. */
static void on_request_of_outer(void *user_data, const weir_request *request, weir_ruling *ruling) {
    struct host *host = user_data;
    weir_proxy *inner = NULL;
    char error[256];
    int to;
    (void)request;
    host->inside++;
    CHECK(weir_new(host->config, NULL, &inner, error, sizeof error) == WEIR_OK);
    to = connected(port_of(inner));
    CHECK(weir_poll(inner, 1000) == WEIR_OK);
    CHECK(weir_free(host->proxy) == WEIR_ERROR_BUSY && weir_stop(inner) == WEIR_OK);
    CHECK(weir_poll(inner, -1) == WEIR_ENDED && weir_free(inner) == WEIR_OK);
    close(to);
    CHECK(weir_ruling_answer(ruling, 200, "outer", 5) == WEIR_OK);
    CHECK(weir_stop(host->proxy) == WEIR_OK);
}

static void nested(void) {
    struct host host;
    weir_options options = {0};
    const char *request = "GET http://a.example/ HTTP/1.0\r\n\r\n";
    weir_status status;
    int to;
    memset(&host, 0, sizeof host);
    host.config = configuration("");
    options.size = sizeof options;
    options.user_data = &host;
    options.on_request = on_request_of_outer;
    CHECK(weir_new(host.config, &options, &host.proxy, NULL, 0) == WEIR_OK);
    to = connected(port_of(host.proxy));
    CHECK(write(to, request, strlen(request)) == (ssize_t)strlen(request));
    while ((status = weir_poll(host.proxy, -1)) == WEIR_OK) {
    }
    CHECK(status == WEIR_ENDED && host.inside == 1);
    CHECK(weir_free(host.proxy) == WEIR_OK);
    close(to);
    weir_config_free(host.config);
}

/* In each order, and again. */
static void orders(void) {
    weir_config *config = configuration("");
    weir_proxy *proxy = NULL;
    char error[64] = "x";
    uint64_t value;
    CHECK(weir_new(config, NULL, &proxy, NULL, 0) == WEIR_OK && weir_free(proxy) == WEIR_OK);
    CHECK(weir_new(config, NULL, &proxy, NULL, 9) == WEIR_OK);
    CHECK(weir_drain(proxy) == WEIR_OK && weir_drain(proxy) == WEIR_OK && weir_stop(proxy) == WEIR_OK);
    while (weir_poll(proxy, -1) == WEIR_OK) {
    }
    CHECK(weir_poll(proxy, -1) == WEIR_ENDED && weir_poll(proxy, 0) == WEIR_ENDED);
    CHECK(weir_drain(proxy) == WEIR_OK && weir_stop(proxy) == WEIR_OK);
    CHECK(weir_reload(proxy, config, error, sizeof error) == WEIR_OK && error[0] == 0);
    CHECK(weir_stats(proxy, "requests", &value) == WEIR_OK && value == 0);
    CHECK(weir_stats_text(proxy, NULL, 100) > 1000 && weir_next_timeout_ms(proxy) >= -1 && weir_fd(proxy) >= 0);
    CHECK(weir_ban(proxy, "192.0.2.1", 1, NULL) == WEIR_OK && weir_free(proxy) == WEIR_OK);
    /* One value is one value, whatever is in it. */
    CHECK(weir_config_set(config, "block", "a.example\nallow b.example") == WEIR_OK);
    CHECK(weir_new(config, NULL, &proxy, error, sizeof error) == WEIR_ERROR_CONFIGURATION && proxy == NULL);
    CHECK(error[0] != 0 && error[sizeof error - 1] == 0);
    weir_config_free(config);
}

static void nothing(void) {
    weir_config *config = weir_config_new();
    uint64_t value = 0;
    char text[8] = "x";
    CHECK(weir_config_set(config, NULL, "1") == WEIR_ERROR_ARGUMENT && weir_config_set(config, "port", NULL) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_config_set(NULL, "port", "1") == WEIR_ERROR_ARGUMENT && weir_config_memory_only(NULL) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_config_text(config, NULL) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_config_file(config, NULL, "", 0) == WEIR_ERROR_ARGUMENT && weir_config_file(NULL, "a", "", 0) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_config_file(config, "a", NULL, 1) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_config_file(config, "a", "", (size_t)-1) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_reload(NULL, config, text, sizeof text) == WEIR_ERROR_ARGUMENT && text[0] == 0);
    CHECK(weir_drain(NULL) == WEIR_ERROR_ARGUMENT && weir_stop(NULL) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ban(NULL, "a", 1, NULL) == WEIR_ERROR_ARGUMENT && weir_unban(NULL, "a") == WEIR_ERROR_ARGUMENT);
    CHECK(weir_name_found(NULL, "a", WEIR_NAME_ASK, NULL, 0) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_stats(NULL, "a", &value) == WEIR_ERROR_ARGUMENT && weir_stats_text(NULL, text, sizeof text) == 0);
    CHECK(weir_address(NULL, 0, text, sizeof text) == 0 && weir_next_timeout_ms(NULL) == -1);
    CHECK(weir_request_client(NULL).length == 0 && weir_request_user(NULL).length == 0);
    CHECK(weir_request_method(NULL).length == 0 && weir_request_host(NULL).length == 0 && weir_request_port(NULL) == 0);
    CHECK(weir_request_path(NULL).length == 0 && weir_request_target(NULL).data != NULL && !weir_request_is_refresh(NULL));
    CHECK(weir_ruling_refuse(NULL, 403, "a") == WEIR_ERROR_ARGUMENT && weir_ruling_note(NULL, "a") == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ruling_answer(NULL, 200, "a", 1) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ruling_answer_field(NULL, "a", "b") == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ruling_dial(NULL, "127.0.0.1", 1) == WEIR_ERROR_ARGUMENT && weir_addresses_add(NULL, "::1") == WEIR_ERROR_ARGUMENT);
    weir_config_free(config);
}

/* Descriptors of everything but a socket that listens for TCP. All of them are closed. */
static void sockets(void) {
    weir_config *config = configuration("");
    weir_options options = {0};
    weir_proxy *proxy = NULL;
    struct sockaddr_un local;
    char error[128];
    int given, pipes[2], kind;
    options.size = sizeof options;
    options.listeners = &given;
    options.listeners_count = 1;
    for (kind = 0; kind < 4; kind++) {
        memset(error, 0, sizeof error);
        CHECK(pipe(pipes) == 0);
        close(pipes[1]);
        given = pipes[0];
        if (kind > 0) {
            close(pipes[0]);
            given = socket(kind == 3 ? AF_UNIX : AF_INET, kind == 1 ? SOCK_DGRAM : SOCK_STREAM, 0);
        }
        if (kind == 3) {
            memset(&local, 0, sizeof local);
            local.sun_family = AF_UNIX;
            memcpy(local.sun_path, "\0weir-misuse", 12);
            CHECK(bind(given, (struct sockaddr *)&local, sizeof local) == 0 && listen(given, 1) == 0);
        }
        CHECK(weir_new(config, &options, &proxy, error, sizeof error) == WEIR_ERROR_SYSTEM && proxy == NULL);
        CHECK(error[0] != 0 && close(given) == -1 && errno == EBADF);
    }
    /* One that is not open: the number may belong to somebody else soon. */
    CHECK(weir_new(config, &options, &proxy, error, sizeof error) == WEIR_ERROR_ARGUMENT && proxy == NULL);
    /* The configuration is wrong as well: they are closed all the same. */
    CHECK(weir_config_set(config, "workers", "2") == WEIR_OK);
    given = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listen(given, 1) == 0 && weir_new(config, &options, &proxy, error, sizeof error) < 0);
    CHECK(close(given) == -1 && errno == EBADF);
    options.listeners = NULL;
    CHECK(weir_new(config, &options, &proxy, error, sizeof error) == WEIR_ERROR_ARGUMENT);
    weir_config_free(config);
}

int main(void) {
    nothing();
    orders();
    sockets();
    nested();
    crowd("", 1);
    crowd("workers 3\n", 3);
    freed_at_work();
    puts("misuse.c: all is well");
    return 0;
}
