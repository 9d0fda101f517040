/* Reads what it has released: ASan must report it. See asan.sh. */
#include <lookbehind.h>

#include <stdio.h>

int main(void) {
    static const uint8_t piece[4096] = {1};
    const uint8_t *data;
    lb_storage film;
    lb_cache cache;
    size_t len;

    lb_cache_new(NULL, &cache);
    lb_storage_add(cache, sizeof piece, sizeof piece, NULL, &film);
    lb_insert(film, 0, piece, sizeof piece);
    if (lb_get(film, 0, 0, &data, &len) != LB_OK) return 2;
    lb_storage_close(film);
    lb_cache_close(cache);
    /* Only the pin keeps it now. */
    if (data[0] != 1) return 2;
    fputs("good until it is released\n", stderr);
    lb_release(data);
    return data[0];
}
