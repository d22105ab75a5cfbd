/* A program with weir and another part in Rust, each a static library with a standard library of its own. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <weir.h>

uint32_t beside_panics(void);
bool beside_runs(void);

int main(void) {
    char error[256];
    weir_proxy *proxy = NULL;
    weir_config *config = weir_config_new();

    weir_config_text(config, "host 127.0.0.1\nport 0\n");
    if (weir_new(config, NULL, &proxy, error, sizeof error) != WEIR_OK) {
        fprintf(stderr, "beside: %s\n", error);
        return 1;
    }
    weir_config_free(config);
    if (weir_poll(proxy, 0) < 0 || beside_panics() != 1 || !beside_runs() || weir_poll(proxy, 0) < 0) {
        fprintf(stderr, "beside: a part has failed\n");
        return 1;
    }
    weir_free(proxy);
    puts("beside: both parts run");
    return 0;
}
