#include <stdio.h>
#include <string.h>
#include <weir.h>

static void on_log(void *user_data, const char *lines, size_t length) {
    fwrite(lines, 1, length, (FILE *)user_data);
}

static void on_request(void *user_data, const weir_request *request, weir_ruling *ruling) {
    weir_text host = weir_request_host(request);
    (void)user_data;
    if (host.length == 11 && memcmp(host.data, "ads.example", 11) == 0) {
        weir_ruling_refuse(ruling, 403, "no advertisements here");
    }
}

int main(void) {
    char text[1024];
    weir_proxy *proxy = NULL;
    weir_status status;
    weir_options options = {0};
    weir_config *config = weir_config_new();

    options.size = sizeof options;
    options.user_data = stdout;
    options.on_log = on_log;
    options.on_request = on_request;
    weir_config_text(config, "host 127.0.0.1\nport 0\nauth-file users\n");
    weir_config_file(config, "users", "ann:secret\n", 11);
    status = weir_new(config, &options, &proxy, text, sizeof text);
    weir_config_free(config);
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", weir_status_text(status), text);
        return 1;
    }
    weir_address(proxy, 0, text, sizeof text);
    printf("curl -x http://ann:secret@%s http://example.com/\n", text);
    fflush(stdout);
    while ((status = weir_poll(proxy, -1)) == WEIR_OK) {
    }
    weir_free(proxy);
    return status < 0;
}
