/* A tour of the C interface: everything that an engine or a player needs, on one thread.
 *
 *   cc -std=c11 example.c -llookbehind && ./a.out
 */
#include <lookbehind.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 16, PIECES = 16 };

/* Ends the program unless a call went as it should. */
static void expect(lb_status expected, lb_status status, const char *call) {
    char words[256];
    if (status == expected) return;
    lb_last_error(words, sizeof words);
    fprintf(stderr, "%s: %s, %s\n", call, lb_status_name((int)status), words);
    exit(EXIT_FAILURE);
}
#define OK(call) expect(LB_OK, (call), #call)
#define GIVES(expected, call) expect((expected), (call), #call)

static void check(bool right, const char *what) {
    if (right) return;
    fprintf(stderr, "not so: %s\n", what);
    exit(EXIT_FAILURE);
}
#define CHECK(what) check((what), #what)

/* Where the bytes of the film come from: a swarm, a file, a server. */
static const uint8_t *origin(uint32_t piece) {
    static uint8_t bytes[PIECE];
    memset(bytes, (int)(piece + 1), sizeof bytes);
    return bytes;
}

static void evicted(void *context, const lb_eviction *eviction) {
    unsigned *count = context;
    *count += eviction->reason == LB_REASON_REQUESTED;
}

/* Blocks in any order; the piece is there when they are committed. */
static void blocks(lb_storage film) {
    const uint32_t half = PIECE / 2;
    const uint8_t *bytes = origin(0);
    lb_progress progress;
    uint64_t written;
    bool there;

    OK(lb_write(film, 0, half, bytes + half, half, &progress, &written));
    CHECK(progress == LB_PROGRESS_PARTIAL && written == half);
    GIVES(LB_INCOMPLETE, lb_commit(film, 0));
    OK(lb_write(film, 0, 0, bytes, half, &progress, NULL));
    CHECK(progress == LB_PROGRESS_COMPLETE);
    OK(lb_contains(film, 0, &there));
    CHECK(!there);
    OK(lb_commit(film, 0));
    OK(lb_contains(film, 0, &there));
    CHECK(there);
    puts("a piece arrived in two blocks");
}

/* A pin is an address. The bytes stay until it is released, whatever becomes of the piece. */
static void pins(lb_storage film) {
    const uint8_t *data, *again;
    size_t len, count;

    OK(lb_get(film, 0, 100, &data, &len));
    CHECK(len == PIECE - 100);
    OK(lb_evict(film, 0, 1, &count));
    CHECK(count == 1);
    GIVES(LB_MISSING, lb_get(film, 0, 100, &again, &len));
    CHECK(data[0] == 1 && data[PIECE - 101] == 1);
    OK(lb_release(data));
    GIVES(LB_NOT_PINNED, lb_release(data));
    puts("a pin outlived the eviction of its piece");
}

struct told {
    lb_status status;
    size_t len;
    uint8_t first;
    unsigned times;
};

static void told(void *context, lb_status status, const uint8_t *data, size_t len) {
    struct told *told = context;
    told->status = status;
    told->len = len;
    told->first = data ? data[0] : 0;
    told->times += 1;
    lb_release(data); /* null is fine */
}

/* Reads wait for pieces that are not there yet: by a callback, or a handle that is polled. */
static void reads(lb_storage film) {
    struct told first = {0}, second = {0};
    lb_read cancelled, polled;
    const uint8_t *data;
    size_t len;

    OK(lb_read_async(film, 1, PIECE - 4, 60000, told, &first, NULL));
    OK(lb_read_async(film, 2, 0, -1, told, &second, &cancelled));
    OK(lb_read_start(film, 1, 0, -1, &polled));
    GIVES(LB_PENDING, lb_read_poll(polled, 0, &data, &len));
    CHECK(first.times == 0 && second.times == 0);

    OK(lb_insert(film, 1, origin(1), PIECE));
    CHECK(first.times == 1 && first.status == LB_OK && first.len == 4 && first.first == 2);
    OK(lb_read_poll(polled, 0, &data, &len));
    CHECK(len == PIECE && data[0] == 2);
    OK(lb_release(data));

    OK(lb_read_cancel(cancelled));
    CHECK(second.times == 1 && second.status == LB_CANCELLED);
    puts("reads waited, by a callback and by a handle");
}

/* A player makes its pieces wanted; whoever fetches them asks for the most urgent one. */
static void play(lb_storage film) {
    lb_player_options options = {.bitrate = 1 << 20, .ahead_bytes = 4 * PIECE};
    uint8_t buffer[1 << 14];
    uint64_t position = 0;
    lb_player player;
    lb_status status;

    OK(lb_player_open(film, &options, &player));
    do {
        uint32_t piece, len;
        lb_fetch fetch;
        size_t count;

        status = lb_player_read(player, buffer, sizeof buffer, 0, &count);
        if (status == LB_OK) {
            CHECK(buffer[0] == (uint8_t)(position / PIECE + 1));
            position += count;
        } else if (status == LB_PENDING) {
            OK(lb_wanted_next(film, 0, &fetch, &piece, &len));
            OK(lb_insert(film, piece, origin(piece), len));
            OK(lb_fetch_close(fetch));
        }
    } while (status == LB_OK || status == LB_PENDING);
    expect(LB_END, status, "lb_player_read");
    CHECK(position == (uint64_t)PIECE * PIECES);

    const uint8_t *data;
    size_t len;
    OK(lb_player_seek(player, PIECE * 3 + 10)); /* back, without a copy */
    OK(lb_player_next(player, 0, &data, &len));
    CHECK(len == PIECE - 10 && data[0] == 4);
    OK(lb_release(data));
    OK(lb_player_close(player));
    GIVES(LB_INVALID_HANDLE, lb_player_close(player));
    puts("a player read the film, and sought back");
}

/* What shall stay for a seek back, as far as there is room. */
static void lookbehind(lb_storage film) {
    const uint32_t named[] = {3, 4, 5};
    lb_lookbehind_statistics stats;
    lb_range runs[4];
    size_t count;

    OK(lb_lookbehind_set(film, named, 3));
    OK(lb_evict(film, 5, 6, NULL));
    OK(lb_lookbehind_stats(film, &stats));
    CHECK(stats.named == 3 && stats.available == 2);
    OK(lb_lookbehind_clear(film));
    OK(lb_storage_runs(film, runs, 4, &count));
    CHECK(count == 2 && runs[0].first == 0 && runs[0].end == 5 && runs[1].end == PIECES);
    puts("two of three look-behind pieces are there");
}

int main(void) {
    unsigned evictions = 0;
    lb_cache_options options = {
        .budget = 8 << 20, .evicted = evicted, .context = &evictions};
    lb_cache_statistics stats;
    lb_cache cache;
    lb_storage film;
    size_t pinned;

    printf("lookbehind %s\n", lb_version());
    OK(lb_cache_new(&options, &cache));
    OK(lb_storage_add(cache, (uint64_t)PIECE * PIECES, PIECE, NULL, &film));

    blocks(film);
    pins(film);
    reads(film);
    play(film);
    lookbehind(film);

    OK(lb_cache_stats(cache, &stats));
    CHECK(stats.resident <= stats.budget && stats.evictions == 2 && evictions == 2);
    printf("%llu of %llu bytes in use\n", (unsigned long long)stats.resident,
           (unsigned long long)stats.budget);

    OK(lb_storage_close(film));
    OK(lb_cache_close(cache));
    OK(lb_pins(&pinned));
    CHECK(pinned == 0);
    return EXIT_SUCCESS;
}
