/* A program with an epoll loop of its own, in which a proxy, a timer and a client of the proxy take turns. No thread, no origin:
 * the program answers. Everything that is wrong ends it. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <weir.h>

#define CHECK(holds) check((holds), #holds, __LINE__)

static void check(int holds, const char *text, int line) {
    if (!holds) {
        fprintf(stderr, "host.c:%d: %s (errno %d)\n", line, text, errno);
        exit(1);
    }
}

/* What callbacks and loop have in common. */
struct host {
    int late, wrong;
    weir_proxy *proxy;
    int epoll, timer;
    unsigned ticks, connections, requests, names;
    char log[8192];
    size_t log_length;
};

static int equals(weir_text text, const char *expected) {
    return text.length == strlen(expected) && memcmp(text.data, expected, text.length) == 0;
}

static int on_connection(void *user_data, const char *address, uint16_t port) {
    struct host *host = user_data;
    host->connections++;
    CHECK(strcmp(address, "127.0.0.1") == 0 && port != 0);
    return 1;
}

/* Rulings that fail, each of which has to refuse. */
#define WRONG_RULINGS 6
static void rule_wrongly(int which, weir_ruling *ruling) {
    switch (which) {
    case 0:
        CHECK(weir_ruling_refuse(ruling, 451, "court \xff order") == WEIR_ERROR_ARGUMENT);
        break;
    case 1:
        CHECK(weir_ruling_refuse(ruling, 451, NULL) == WEIR_ERROR_ARGUMENT);
        break;
    case 2:
        CHECK(weir_ruling_answer(ruling, 200, NULL, 1) == WEIR_ERROR_ARGUMENT);
        break;
    case 3:
        CHECK(weir_ruling_answer(ruling, 200, "", 0) == WEIR_OK);
        CHECK(weir_ruling_answer_field(ruling, "X-Host", "\xff") == WEIR_ERROR_ARGUMENT);
        break;
    case 4:
        CHECK(weir_ruling_dial(ruling, "not an address", 80) == WEIR_ERROR_ARGUMENT);
        break;
    default:
        CHECK(weir_ruling_dial(ruling, NULL, 80) == WEIR_ERROR_ARGUMENT);
    }
}

static void on_request(void *user_data, const weir_request *request, weir_ruling *ruling) {
    struct host *host = user_data;
    weir_text value;
    host->requests++;
    /* As a write to a closed connection does. */
    CHECK(raise(SIGPIPE) == 0);
    CHECK(equals(weir_request_client(request), "127.0.0.1"));
    CHECK(equals(weir_request_user(request), ""));
    CHECK(equals(weir_request_method(request), "GET"));
    CHECK(!weir_request_is_refresh(request));
    CHECK(weir_request_field(request, "x-test", &value) && equals(value, "yes"));
    CHECK(!weir_request_field(request, "x-other", &value) && value.length == 0);
    /* What is not for callbacks says so, and does nothing. */
    CHECK(weir_poll(host->proxy, 0) == WEIR_ERROR_BUSY);
    CHECK(weir_free(host->proxy) == WEIR_ERROR_BUSY);
    CHECK(weir_stats_text(host->proxy, NULL, 0) == 0);
    CHECK(weir_ruling_note(ruling, "seen") == WEIR_OK);
    if (equals(weir_request_path(request), "/answer")) {
        CHECK(weir_ruling_answer_field(ruling, "X-Early", "1") == WEIR_ERROR_ARGUMENT);
        CHECK(weir_ruling_answer(ruling, 200, "from the host", 13) == WEIR_OK);
        CHECK(weir_ruling_answer_field(ruling, "X-Host", "c") == WEIR_OK);
    } else if (equals(weir_request_path(request), "/dial")) {
        CHECK(weir_ruling_dial(ruling, "not an address", 80) == WEIR_ERROR_ARGUMENT);
        /* Nothing listens there, and the rules do not allow it. */
        CHECK(weir_ruling_dial(ruling, "127.0.0.1", 9) == WEIR_OK);
    } else if (equals(weir_request_path(request), "/late")) {
        host->late = 1;
    } else if (equals(weir_request_path(request), "/name")) {
        CHECK(equals(weir_request_host(request), "none.example") && weir_request_port(request) == 81);
        CHECK(equals(weir_request_target(request), "http://none.example:81/name"));
    } else if (equals(weir_request_path(request), "/wrong")) {
        rule_wrongly(host->wrong, ruling);
    } else {
        CHECK(weir_ruling_refuse(ruling, 451, "court order") == WEIR_OK);
    }
}

static int on_name(void *user_data, const char *name, weir_addresses *addresses) {
    struct host *host = user_data;
    host->names++;
    if (strcmp(name, "late.example") == 0) {
        return WEIR_NAME_LATER;
    }
    CHECK(strcmp(name, "none.example") == 0);
    CHECK(weir_addresses_add(addresses, "x") == WEIR_ERROR_ARGUMENT);
    CHECK(weir_addresses_add(addresses, "127.0.0.1") == WEIR_OK);
    return WEIR_NAME_FOUND;
}

static void on_log(void *user_data, const char *lines, size_t length) {
    struct host *host = user_data;
    CHECK(length > 0 && lines[length - 1] == '\n');
    CHECK(host->log_length + length < sizeof host->log);
    memcpy(host->log + host->log_length, lines, length);
    host->log_length += length;
    host->log[host->log_length] = 0;
}

static void watch(struct host *host, int descriptor) {
    struct epoll_event event = {0};
    event.events = EPOLLIN;
    event.data.fd = descriptor;
    CHECK(epoll_ctl(host->epoll, EPOLL_CTL_ADD, descriptor, &event) == 0);
}

/* One turn of the host: waits for all descriptors at once, and no longer than the proxy wants. Whether `awaited` is readable. */
static int turn(struct host *host, int awaited, weir_status *status) {
    struct epoll_event events[4];
    int index, readable = 0;
    int count = epoll_wait(host->epoll, events, 4, weir_next_timeout_ms(host->proxy));
    /* A process that was stopped and goes on gets EINTR: no events. */
    CHECK(count >= 0 || errno == EINTR);
    for (index = 0; index < count; index++) {
        if (events[index].data.fd == host->timer) {
            uint64_t expirations;
            CHECK(read(host->timer, &expirations, sizeof expirations) == (ssize_t)sizeof expirations);
            host->ticks++;
        }
        readable |= events[index].data.fd == awaited;
    }
    *status = weir_poll(host->proxy, 0);
    return readable;
}

/* What the program's own resolver has found. The rules do not allow loopback. */
static void find_late_name(struct host *host) {
    const char *addresses[] = {"127.0.0.1", "::1"}, *wrong[] = {"x"};
    host->late = 0;
    CHECK(weir_name_found(host->proxy, "late.example", WEIR_NAME_FOUND, wrong, 1) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_name_found(host->proxy, "late.example", WEIR_NAME_LATER, NULL, 0) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_name_found(host->proxy, "other.example", WEIR_NAME_NOT_FOUND, NULL, 0) == WEIR_OK);
    CHECK(weir_name_found(host->proxy, "late.example", WEIR_NAME_FOUND, addresses, 2) == WEIR_OK);
}

/* Sends a request to the proxy and returns what comes back until the connection ends. */
static const char *ask(struct host *host, const char *target) {
    static char answer[8192];
    char request[512], address[64];
    struct sockaddr_in to;
    size_t length = 0;
    int client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(client >= 0);
    CHECK(weir_address(host->proxy, 0, address, sizeof address) > 0);
    CHECK(weir_address(host->proxy, 1, address, sizeof address) == 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
    CHECK(connect(client, (struct sockaddr *)&to, sizeof to) == 0);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %.*s\r\nX-Test: yes\r\nConnection: close\r\n\r\n", target,
             (int)strcspn(target + 7, "/"), target + 7);
    CHECK(write(client, request, strlen(request)) == (ssize_t)strlen(request));
    watch(host, client);
    for (;;) {
        weir_status status;
        int readable = turn(host, client, &status);
        CHECK(status == WEIR_OK);
        if (host->late) {
            find_late_name(host);
        }
        if (readable) {
            ssize_t count = read(client, answer + length, sizeof answer - 1 - length);
            CHECK(count >= 0);
            if (count == 0) {
                break;
            }
            length += (size_t)count;
        }
    }
    answer[length] = 0;
    close(client);
    return answer;
}

static void run(struct host *host) {
    const char *answer = ask(host, "http://a.example/answer");
    CHECK(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17) == 0 && strstr(answer, "X-Host: c\r\n") != NULL);
    CHECK(strstr(answer, "\r\n\r\nfrom the host") != NULL);
    answer = ask(host, "http://a.example/refuse");
    CHECK(strncmp(answer, "HTTP/1.1 451 ", 13) == 0 && strstr(answer, "court order") != NULL);
    CHECK(strncmp(ask(host, "http://a.example/dial"), "HTTP/1.1 403 ", 13) == 0);
    CHECK(strncmp(ask(host, "http://none.example:81/name"), "HTTP/1.1 403 ", 13) == 0);
    CHECK(strncmp(ask(host, "http://late.example:81/late"), "HTTP/1.1 403 ", 13) == 0);
    CHECK(host->connections == 5 && host->requests == 5 && host->names == 2);
    CHECK(strstr(host->log, " 200 GET http://a.example/answer ") != NULL && strstr(host->log, " note=seen\n") != NULL);
}

static void look(struct host *host) {
    char small[8], *text;
    uint64_t value = 0;
    size_t length = weir_stats_text(host->proxy, small, sizeof small);
    CHECK(length > 1000 && strlen(small) == sizeof small - 1);
    text = malloc(length + 1);
    CHECK(text != NULL && weir_stats_text(host->proxy, text, length + 1) == length && strlen(text) == length);
    CHECK(strstr(text, "requests_total 5\n") != NULL);
    free(text);
    CHECK(weir_stats(host->proxy, "requests", &value) == WEIR_OK && value == 5);
    CHECK(weir_stats(host->proxy, "status_none", &value) == WEIR_OK);
    CHECK(weir_stats(host->proxy, "no such", &value) == WEIR_ERROR_NOT_FOUND);
    CHECK(weir_stats(host->proxy, "status_no", &value) == WEIR_ERROR_NOT_FOUND);
    CHECK(weir_stats(host->proxy, "requests", NULL) == WEIR_ERROR_ARGUMENT);
}

static void ban(struct host *host) {
    CHECK(weir_ban(host->proxy, "192.0.2.0/24", 60, NULL) == WEIR_OK);
    CHECK(weir_unban(host->proxy, "192.0.2.0/24") == WEIR_OK);
    CHECK(weir_unban(host->proxy, "192.0.2.0/24") == WEIR_ERROR_NOT_FOUND);
    CHECK(weir_ban(host->proxy, "192.0.2.0/240", 0, "scans") == WEIR_ERROR_ARGUMENT);
    CHECK(weir_ban(host->proxy, "127.0.0.1", 0, "") == WEIR_ERROR_REFUSED);
}

static void be_wrong(struct host *host) {
    for (host->wrong = 0; host->wrong < WRONG_RULINGS; host->wrong++) {
        const char *answer = ask(host, "http://a.example/wrong");
        CHECK(strncmp(answer + 8, host->wrong < 2 ? " 451 " : " 500 ", 5) == 0);
        CHECK(host->wrong != 0 || strstr(answer, "court \xef\xbf\xbd order") != NULL);
        CHECK(host->wrong < 2 || strstr(answer, "callback_ruling") != NULL);
    }
    CHECK(host->requests == 5 + WRONG_RULINGS);
}

static void reload(struct host *host, weir_config *config) {
    char error[256] = "";
    weir_config *wrong = weir_config_new();
    CHECK(weir_config_text(wrong, "no-such-option 1\n") == WEIR_OK);
    CHECK(weir_reload(host->proxy, wrong, error, sizeof error) == WEIR_ERROR_CONFIGURATION);
    CHECK(strstr(error, "no-such-option") != NULL);
    weir_config_free(wrong);
    CHECK(weir_config_set(config, "block", "a.example") == WEIR_OK);
    CHECK(weir_reload(host->proxy, config, error, sizeof error) == WEIR_OK);
    CHECK(strncmp(ask(host, "http://a.example/answer"), "HTTP/1.1 403 ", 13) == 0);
    CHECK(host->requests == 5 + WRONG_RULINGS);
}

/* What is wrong is said, and nothing is left behind. */
static void fail(void) {
    char error[64] = "";
    weir_proxy *proxy = (weir_proxy *)error;
    weir_options options = {0};
    weir_config *config = weir_config_new();
    CHECK(weir_config_text(NULL, "") == WEIR_ERROR_ARGUMENT && weir_config_text(config, "\xff") == WEIR_ERROR_ARGUMENT);
    CHECK(weir_config_text(config, "host 192.0.2.1\nport 1\n") == WEIR_OK);
    CHECK(weir_new(config, NULL, &proxy, error, sizeof error) == WEIR_ERROR_LISTEN && proxy == NULL);
    CHECK(strstr(error, "192.0.2.1") != NULL);
    options.size = sizeof options + 8;
    CHECK(weir_new(config, &options, &proxy, NULL, 0) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_new(config, NULL, NULL, NULL, 0) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_new(NULL, NULL, &proxy, NULL, 0) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_config_set(config, "port", "many") == WEIR_OK);
    CHECK(weir_new(config, NULL, &proxy, error, sizeof error) == WEIR_ERROR_CONFIGURATION);
    CHECK(weir_poll(NULL, 0) == WEIR_ERROR_ARGUMENT && weir_fd(NULL) == -1 && weir_free(NULL) == WEIR_OK);
    weir_config_free(config);
    weir_config_free(NULL);
}

/* Sockets that cannot be taken stay open, and the text of an error is never what was in the buffer before. */
static void misuse(void) {
    char error[128];
    int sockets[2];
    size_t size;
    weir_proxy *proxy = NULL;
    weir_options options = {0};
    weir_config *config = weir_config_new();
    CHECK(weir_config_text(config, "host 127.0.0.1\nport 0\n") == WEIR_OK);
    for (size = 0; size < 3 * sizeof(size_t); size++) {
        if (size == 0 || size % sizeof(size_t) != 0) {
            options.size = size;
            memset(error, 'x', sizeof error);
            CHECK(weir_new(config, &options, &proxy, error, sizeof error) == WEIR_ERROR_ARGUMENT && strstr(error, "sizeof") != NULL);
        }
    }
    options.size = sizeof options;
    options.listeners = sockets;
    options.listeners_count = 2;
    sockets[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(sockets[0] >= 0);
    sockets[1] = -1;
    CHECK(weir_new(config, &options, &proxy, error, sizeof error) == WEIR_ERROR_ARGUMENT);
    sockets[1] = sockets[0];
    CHECK(weir_new(config, &options, &proxy, error, sizeof error) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_new(NULL, &options, &proxy, error, sizeof error) == WEIR_ERROR_ARGUMENT && proxy == NULL);
    options.listeners_count = 1;
    CHECK(listen(sockets[0], 1) == 0);
    CHECK(weir_new(config, &options, &proxy, error, sizeof error) == WEIR_OK);
    CHECK(weir_reload(proxy, NULL, error, sizeof error) == WEIR_ERROR_ARGUMENT && error[0] == '\0');
    CHECK(weir_free(proxy) == WEIR_OK && close(sockets[0]) == -1);
    sockets[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(weir_new(config, &options, &proxy, error, sizeof error) == WEIR_ERROR_SYSTEM && strstr(error, "listen") != NULL);
    weir_config_free(config);
}

/* A header that knows the first two members only. */
static void be_old(void) {
    weir_proxy *proxy = NULL;
    weir_options options = {0};
    weir_config *config = weir_config_new();
    options.size = 2 * sizeof(size_t);
    CHECK(weir_config_text(config, "host 127.0.0.1\nport 0\n") == WEIR_OK);
    CHECK(weir_new(config, &options, &proxy, NULL, 0) == WEIR_OK);
    CHECK(weir_stop(proxy) == WEIR_OK && weir_poll(proxy, -1) == WEIR_ENDED && weir_poll(proxy, -1) == WEIR_ENDED);
    CHECK(weir_free(proxy) == WEIR_OK);
    weir_config_free(config);
}

/* Two loops, of which one has a thread, freed while they run: nothing of them stays on this thread. */
static void free_early(void) {
    weir_proxy *proxy = NULL;
    weir_config *config = weir_config_new();
    CHECK(weir_config_text(config, "host 127.0.0.1\nport 0\nworkers 2\n") == WEIR_OK);
    CHECK(weir_new(config, NULL, &proxy, NULL, 0) == WEIR_OK);
    CHECK(weir_poll(proxy, 0) == WEIR_OK);
    CHECK(weir_free(proxy) == WEIR_OK);
    weir_config_free(config);
}

int main(void) {
    struct host host = {0};
    struct itimerspec every = {{0, 1000000}, {0, 1000000}};
    weir_options options = {0};
    weir_status status = WEIR_OK;
    weir_config *config = weir_config_new();
    int socket_of_host;

    CHECK(weir_abi_version() == WEIR_ABI_VERSION && weir_version()[0] != 0);
    CHECK(strcmp(weir_status_text(WEIR_OK), weir_status_text(-1000)) != 0);
    fail();
    misuse();
    be_old();
    free_early();
    /* Without shared libraries a descriptor of /dev/urandom stays open for the process, from its first use on. */
    socket_of_host = dup(0);
    options.size = sizeof options;
    options.user_data = &host;
    options.on_connection = on_connection;
    options.on_request = on_request;
    options.on_name = on_name;
    options.on_log = on_log;
    CHECK(weir_config_memory_only(config) == WEIR_OK);
    CHECK(weir_config_text(config, "host 127.0.0.1\nport 0\nguard guard.conf\n") == WEIR_OK);
    CHECK(weir_config_file(config, "guard.conf", NULL, 0) == WEIR_OK);
    CHECK(weir_new(config, &options, &host.proxy, NULL, 0) == WEIR_OK);
    host.epoll = epoll_create1(0);
    host.timer = timerfd_create(CLOCK_MONOTONIC, 0);
    CHECK(host.epoll >= 0 && host.timer >= 0 && timerfd_settime(host.timer, 0, &every, NULL) == 0);
    watch(&host, weir_fd(host.proxy));
    watch(&host, host.timer);
    run(&host);
    look(&host);
    be_wrong(&host);
    ban(&host);
    reload(&host, config);
    while (host.ticks < 3) {
        turn(&host, -1, &status);
        CHECK(status == WEIR_OK);
    }
    CHECK(weir_drain(host.proxy) == WEIR_OK);
    while (status != WEIR_ENDED) {
        turn(&host, -1, &status);
        CHECK(status >= 0);
    }
    CHECK(weir_free(host.proxy) == WEIR_OK);
    close(host.timer);
    close(host.epoll);
    weir_config_free(config);
    /* The proxy has closed everything: the next descriptor is the one that was free before. */
    CHECK(dup(0) == socket_of_host + 1);
    puts("host.c: all is well");
    return 0;
}
