/* What a program passes on to the operator of its proxy: messages and warnings, the file of the cache, new addresses of the machine; and
 * what is left of a proxy that was freed in the middle of its work. Arguments: a folder for files, and --namespace if the network of the
 * machine is this program's own. */

#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weir.h>

#define CHECK(holds) check((holds), #holds, __LINE__)
#define TURNS_MAX 20000

static void check(int holds, const char *text, int line) {
    if (!holds) {
        fprintf(stderr, "operator.c:%d: %s (errno %d)\n", line, text, errno);
        exit(1);
    }
}

/* What one proxy has said. */
struct told {
    weir_proxy *proxy;
    unsigned warnings, others;
    char texts[4096];
};

static void on_message(void *user_data, int level, const char *text) {
    struct told *told = user_data;
    CHECK(level == WEIR_MESSAGE_ERROR || level == WEIR_MESSAGE_WARNING || level == WEIR_MESSAGE_INFO);
    CHECK(text[0] != 0 && strlen(told->texts) + strlen(text) + 2 < sizeof told->texts);
    *(level == WEIR_MESSAGE_WARNING ? &told->warnings : &told->others) += 1;
    strcat(strcat(told->texts, text), "\n");
    if (told->proxy != NULL) {
        char address[64];
        CHECK(weir_refresh_addresses(told->proxy) == WEIR_ERROR_BUSY && weir_drain(told->proxy) == WEIR_ERROR_BUSY);
        CHECK(weir_free(told->proxy) == WEIR_ERROR_BUSY && weir_fd(told->proxy) == -1);
        CHECK(weir_address(told->proxy, 0, address, sizeof address) == 0);
    }
}

static weir_options receiver(struct told *told) {
    weir_options options = {0};
    options.size = sizeof options;
    options.user_data = told;
    options.on_message = on_message;
    memset(told, 0, sizeof *told);
    return options;
}

static weir_config *configuration(const char *text) {
    weir_config *config = weir_config_new();
    CHECK(weir_config_memory_only(config) == WEIR_OK && weir_config_text(config, text) == WEIR_OK);
    return config;
}

/* Warnings of one proxy reach its receiver, the caller, and no other proxy. */
static void messages(void) {
    struct told told, other;
    weir_options options = receiver(&told), of_other = receiver(&other);
    weir_config *open = configuration("host 0.0.0.0\nport 0\n");
    weir_config *closed = configuration("host 127.0.0.1\nport 0\n");
    char text[512] = "x";
    const char *expected = "serves every client that can reach it";
    CHECK(weir_new(open, &options, &told.proxy, text, sizeof text) == WEIR_OK);
    CHECK(strstr(text, expected) != NULL && strstr(told.texts, expected) != NULL && told.warnings > 0);
    CHECK(weir_new(closed, &of_other, &other.proxy, text, sizeof text) == WEIR_OK);
    CHECK(strstr(text, expected) == NULL && strstr(other.texts, expected) == NULL);
    CHECK(weir_config_text(closed, "port 1\nbuffers 900\nblock a.example\n") == WEIR_OK);
    CHECK(weir_reload(other.proxy, closed, text, sizeof text) == WEIR_ERROR_CONFIGURATION && strstr(text, "port") != NULL);
    weir_config_free(closed);
    closed = configuration("host 127.0.0.1\nport 1\nbuffers 900\nblock a.example\n");
    CHECK(weir_reload(other.proxy, closed, text, sizeof text) == WEIR_OK);
    CHECK(strstr(text, "needs a new proxy: port, buffers") != NULL && strstr(other.texts, text) != NULL);
    CHECK(strstr(told.texts, "needs a new proxy") == NULL);
    CHECK(weir_reload(other.proxy, closed, NULL, 0) == WEIR_OK);
    CHECK(weir_free(other.proxy) == WEIR_OK && weir_free(told.proxy) == WEIR_OK);
    /* Without a receiver the caller is told all the same. */
    CHECK(weir_new(open, NULL, &told.proxy, text, sizeof text) == WEIR_OK && strstr(text, expected) != NULL);
    CHECK(weir_free(told.proxy) == WEIR_OK);
    weir_config_free(open);
    weir_config_free(closed);
}

/* A program that was compiled with a newer header is told so. */
static void sizes(void) {
    weir_proxy *proxy;
    weir_options options = {0};
    weir_config *config = configuration("host 127.0.0.1\nport 0\n");
    char text[256] = "";
    options.size = sizeof options + sizeof(size_t);
    CHECK(weir_new(config, &options, &proxy, text, sizeof text) == WEIR_ERROR_ARGUMENT && proxy == NULL);
    CHECK(strstr(text, "newer weir.h") != NULL);
    options.size = sizeof options - 1;
    CHECK(weir_new(config, &options, &proxy, text, sizeof text) == WEIR_ERROR_ARGUMENT);
    CHECK(strstr(text, "sizeof(weir_options)") != NULL);
    weir_config_free(config);
}

/* The cache is saved when the program says so, after the end. */
static void cache(const char *folder) {
    struct told told;
    weir_options options = receiver(&told);
    weir_config *config = configuration("host 127.0.0.1\nport 0\n");
    char path[512], text[512];
    FILE *saved;
    weir_status status;
    snprintf(path, sizeof path, "%s/cache-of-operator", folder);
    remove(path);
    CHECK(weir_new(config, &options, &told.proxy, text, sizeof text) == WEIR_OK);
    CHECK(weir_save_cache(told.proxy) == WEIR_ERROR_NOT_FOUND && weir_save_cache(NULL) == WEIR_ERROR_ARGUMENT);
    CHECK(weir_free(told.proxy) == WEIR_OK);
    options = receiver(&told);
    CHECK(weir_config_text(config, "cache yes\n") == WEIR_OK && weir_config_set(config, "cache-file", path) == WEIR_OK);
    status = weir_new(config, &options, &told.proxy, text, sizeof text);
    weir_config_free(config);
    if (status == WEIR_ERROR_CONFIGURATION && strstr(text, "needs the feature cache") != NULL) {
        return;
    }
    CHECK(status == WEIR_OK && weir_save_cache(told.proxy) == WEIR_ERROR_BUSY);
    CHECK(weir_drain(told.proxy) == WEIR_OK);
    while (weir_poll(told.proxy, -1) == WEIR_OK) {
    }
    CHECK((saved = fopen(path, "rb")) == NULL && weir_save_cache(told.proxy) == WEIR_OK);
    CHECK((saved = fopen(path, "rb")) != NULL && fclose(saved) == 0 && remove(path) == 0);
    CHECK(strstr(told.texts, "saved 0 entries") != NULL);
    CHECK(weir_save_cache(told.proxy) == WEIR_ERROR_NOT_FOUND && weir_free(told.proxy) == WEIR_OK);
}

static int connected(const weir_proxy *proxy) {
    struct sockaddr_in to;
    char address[64];
    int client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(client >= 0 && weir_address(proxy, 0, address, sizeof address) > 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
    CHECK(connect(client, (struct sockaddr *)&to, sizeof to) == 0);
    return client;
}

/* The status of the answer. */
static int ask(weir_proxy *proxy, const char *request) {
    char answer[4096];
    ssize_t got = -1;
    int turns, client = connected(proxy);
    CHECK(write(client, request, strlen(request)) == (ssize_t)strlen(request));
    for (turns = 0; got < 0 && turns < TURNS_MAX; turns++) {
        CHECK(weir_poll(proxy, 1) == WEIR_OK);
        got = recv(client, answer, sizeof answer - 1, MSG_DONTWAIT);
    }
    CHECK(got > 12 && strncmp(answer, "HTTP/1.1 ", 9) == 0);
    close(client);
    answer[got] = 0;
    return atoi(answer + 9);
}

/* Gives an address to the loopback interface. */
static void add_address(const char *name, const char *address) {
    struct ifreq change;
    struct sockaddr_in *given = (struct sockaddr_in *)&change.ifr_addr;
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    memset(&change, 0, sizeof change);
    strcpy(change.ifr_name, name);
    given->sin_family = AF_INET;
    CHECK(inet_pton(AF_INET, address, &given->sin_addr) == 1);
    CHECK(ioctl(any, SIOCSIFADDR, &change) == 0 && ioctl(any, SIOCGIFFLAGS, &change) == 0);
    change.ifr_flags |= IFF_UP;
    CHECK(ioctl(any, SIOCSIFFLAGS, &change) == 0 && close(any) == 0);
}

/* A new address of the machine is closed as soon as the program has said that there is one. Nothing listens at it. */
static void addresses(int has_namespace) {
    struct told told;
    weir_options options = receiver(&told);
    weir_config *config = configuration("host 127.0.0.1\nport 0\n");
    const char *request = "GET http://198.51.100.77:8099/ HTTP/1.1\r\nHost: 198.51.100.77:8099\r\n\r\n";
    CHECK(weir_refresh_addresses(NULL) == WEIR_ERROR_ARGUMENT);
    if (has_namespace) {
        add_address("lo", "127.0.0.1");
    }
    CHECK(weir_new(config, &options, &told.proxy, NULL, 0) == WEIR_OK && weir_refresh_addresses(told.proxy) == WEIR_OK);
    CHECK(strstr(told.texts, "other addresses") == NULL);
    if (has_namespace) {
        add_address("lo:1", "198.51.100.77");
        CHECK(ask(told.proxy, request) == 502);
        CHECK(weir_refresh_addresses(told.proxy) == WEIR_OK && strstr(told.texts, "198.51.100.77") != NULL);
        CHECK(ask(told.proxy, request) == 403);
    }
    CHECK(weir_free(told.proxy) == WEIR_OK);
    weir_config_free(config);
}

/* Refuses every second client. */
static void on_client(void *user_data, const char *address, uint16_t port, weir_ruling *ruling) {
    unsigned *clients = user_data;
    CHECK(strcmp(address, "127.0.0.1") == 0 && port != 0);
    if (++*clients % 2 == 0) {
        CHECK(weir_ruling_refuse(ruling, 429, "plan used up") == WEIR_OK);
    } else {
        CHECK(weir_ruling_answer(ruling, 200, "", 0) == WEIR_OK);
    }
}

static int on_connection(void *user_data, const char *address, uint16_t port) {
    (void)user_data;
    (void)address;
    return port == 0;
}

/* A connection is refused with a status and a reason; what is no refusal allows it, and on_connection is not asked. */
static void connections(void) {
    unsigned clients = 0;
    weir_options options = {0};
    weir_proxy *proxy;
    weir_config *config = configuration("host 127.0.0.1\nport 0\n");
    const char *request = "GET http://127.0.0.1:8099/ HTTP/1.1\r\nHost: 127.0.0.1:8099\r\n\r\n";
    options.size = sizeof options;
    options.user_data = &clients;
    options.on_connection = on_connection;
    options.on_client = on_client;
    CHECK(weir_new(config, &options, &proxy, NULL, 0) == WEIR_OK);
    CHECK(ask(proxy, request) == 403 && ask(proxy, request) == 429 && clients == 2);
    CHECK(weir_free(proxy) == WEIR_OK);
    weir_config_free(config);
}

static int threads(void) {
    DIR *folder = opendir("/proc/self/task");
    int count = -2;
    CHECK(folder != NULL);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

/* Passwords that are still to be verified do not outlive the proxy. */
static void leave_nothing(void) {
    const char *users = "ann:$2y$09$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
    const char *request = "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: Basic YW5uOng=\r\n\r\n";
    weir_config *config = configuration("host 127.0.0.1\nport 0\nauth-file users\n");
    weir_proxy *proxy;
    int clients[3], index, turns, before = threads();
    CHECK(weir_config_file(config, "users", users, strlen(users)) == WEIR_OK);
    CHECK(weir_new(config, NULL, &proxy, NULL, 0) == WEIR_OK);
    weir_config_free(config);
    for (index = 0; index < 3; index++) {
        clients[index] = connected(proxy);
        CHECK(write(clients[index], request, strlen(request)) == (ssize_t)strlen(request));
    }
    for (turns = 0; threads() == before && turns < TURNS_MAX; turns++) {
        CHECK(weir_poll(proxy, 1) == WEIR_OK);
    }
    CHECK(threads() == before + 1 && weir_free(proxy) == WEIR_OK && threads() == before);
    for (index = 0; index < 3; index++) {
        close(clients[index]);
    }
}

int main(int argc, char **argv) {
    CHECK(argc >= 2);
    messages();
    sizes();
    cache(argv[1]);
    addresses(argc > 2 && strcmp(argv[2], "--namespace") == 0);
    connections();
    leave_nothing();
    puts("operator.c: all is well");
    return 0;
}
