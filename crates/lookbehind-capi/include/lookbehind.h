/*
 * Lookbehind: a piece cache in RAM for streaming media.
 *
 * Pieces of films arrive from anywhere, whole or in blocks, are verified, published, read by many
 * threads at once, kept while a player is likely to want them, and evicted, under one budget of
 * memory. A cache has storages, one for each film; a storage has pieces, with numbers from 0.
 *
 * Every function may be called from any thread.
 *
 * STATUS. Functions return an lb_status, unless they cannot fail. What they find they write where
 * they are told to, and only if they return LB_OK. A pointer must be good for what it is said to
 * point to until the function returns; data is copied.
 *
 * HANDLES are numbers. Each is closed once. One that was closed, zero, or one of another kind is
 * refused with LB_INVALID_HANDLE.
 *
 * PINS are addresses of bytes within a piece, which stay there, as they are, until lb_release is
 * called with the address, on any thread. They outlive eviction, storages and caches, and count
 * against the budget: release them soon.
 *
 * TIMES are in milliseconds. A timeout of 0 does not wait, a negative one waits for ever. Functions
 * without a timeout do not wait.
 *
 * CALLBACKS come on any thread, several at once, while the library holds no lock. The thread goes
 * on with what it was at when they return, publishing or evicting: be brief. They may call any
 * function here with a timeout of 0 or without one, and must not throw. A callback whose calls bring
 * about what it is told of is called within itself. What a callback is given other than pins is good
 * until it returns.
 *
 * THREADS of the library's own there are none but a timer for each cache, while reads wait that have a
 * timeout. In a child of fork it is missing, and locks may be held for ever: only exec is safe there.
 */
#ifndef LOOKBEHIND_H
#define LOOKBEHIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a call went ------------------------------------------------------------------------------ */

/// How a call went. The numbers stay as they are.
typedef enum lb_status {
  /// It went well.
  LB_OK = 0,
  /// Not yet: what was asked for did not come in time. Ask again.
  LB_PENDING = 1,
  /// Nothing more will come: the end of the film, or of what is wanted.
  LB_END = 2,
  /// The read was cancelled.
  LB_CANCELLED = 3,
  /// No such handle: it was closed, is one of something else, or never was one.
  LB_INVALID_HANDLE = 10,
  /// A pointer is null that must not be.
  LB_NULL_POINTER = 11,
  /// An argument makes no sense.
  LB_INVALID_ARGUMENT = 12,
  /// The address is not pinned.
  LB_NOT_PINNED = 13,
  /// A fault of the library. The call may have been made in part; everything can be used on.
  LB_PANICKED = 14,
  /// A failure that this header has no number for; lb_last_error has the words.
  LB_OTHER = 15,
  /// No room in the budget, and none could be made at once.
  LB_BUDGET_EXHAUSTED = 20,
  /// The storage was removed, or never added.
  LB_UNKNOWN_STORAGE = 21,
  /// The piece is not in the cache.
  LB_MISSING = 22,
  /// The layout has no such piece, no longer, or not yet.
  LB_PIECE_OUT_OF_RANGE = 23,
  /// The bytes reach beyond the end of the piece.
  LB_BLOCK_OUT_OF_RANGE = 24,
  /// A whole piece was given with a length that is not its own.
  LB_WRONG_LENGTH = 25,
  /// The bytes are not those of the piece.
  LB_VERIFY_FAILED = 26,
  /// No block of the piece has been written, or what was written was dropped.
  LB_NOT_OPEN = 27,
  /// Blocks of the piece are missing.
  LB_INCOMPLETE = 28,
  /// The deadline passed.
  LB_TIMED_OUT = 29,
  /// The cache was aborted.
  LB_ABORTED = 30,
  /// The storage was removed in the meantime.
  LB_REMOVED = 31,
  /// Whoever fetched the piece gave up.
  LB_FETCH_FAILED = 32,
  /// A film or a segment of no bytes.
  LB_ZERO_LENGTH = 33,
  /// Pieces of no bytes.
  LB_ZERO_PIECE_LENGTH = 34,
  /// More pieces than the tables take.
  LB_TOO_MANY_PIECES = 35,
  /// A piece of more than half the budget.
  LB_PIECE_TOO_LARGE = 36,
  /// A budget of more than can be counted.
  LB_BUDGET_TOO_LARGE = 37,
  /// A budget that does not even hold the tables.
  LB_BUDGET_TOO_SMALL = 38,
  /// The film is not a live one: its pieces are fixed.
  LB_NOT_SEGMENTED = 39,
  /// The film is a live one, a list of segments.
  LB_NOT_FIXED = 40,
  /// The blocks of the piece lie in too many parts.
  LB_TOO_FRAGMENTED = 41,
  /// Pieces that arrive take all that they may take together.
  LB_ASSEMBLIES_FULL = 42,
  /// The storage has used up its own share of the budget.
  LB_SHARE_EXHAUSTED = 43,
  /// The allocator refused.
  LB_OUT_OF_MEMORY = 44,
  /// The player was closed meanwhile.
  LB_DROPPED = 45,
  /// An offset beyond the end of the film, or before its first segment.
  LB_OFFSET_OUT_OF_RANGE = 46,
  /// The length of a list of hashes is no multiple of one hash.
  LB_HASH_LIST_LENGTH = 47,
} lb_status;

/// Is given the context of a callback once the library will not use it any more.
typedef void (*lb_drop_fn)(void *context);

/// The name of a status, as "LB_MISSING"; "unknown status" for any other number. Static.
const char *lb_status_name(int status);

/// The last failure of this thread in words, with the figures that belong to it; empty if there was
/// none. A success, LB_PENDING and LB_END leave it as it is. Within a callback of a read it says why
/// that read failed.
///
/// Writes as snprintf does: at most `capacity` bytes, the zero at the end included, and returns
/// how long the whole text is without it. `buffer` may be null to ask for the length.
size_t lb_last_error(char *buffer,
                     size_t capacity);

/// The version of the library, as "0.1.0". Static.
const char *lb_version(void);

/* Caches --------------------------------------------------------------------------------------- */

/// Why a piece was evicted.
typedef enum lb_reason {
  /// Another piece needed the room.
  LB_REASON_ROOM = 0,
  /// lb_evict was called.
  LB_REASON_REQUESTED = 1,
  /// Its storage was removed.
  LB_REASON_REMOVED = 2,
  /// lb_cache_shrink made room under a lowered budget.
  LB_REASON_SHRINK = 3,
  /// Its segment fell out of a live film's window.
  LB_REASON_WINDOW = 4,
  /// Another reason, of a later version.
  LB_REASON_OTHER = 5,
} lb_reason;

/// A piece that is about to be evicted.
typedef struct lb_eviction {
  /// The storage, as lb_storage_id names it.
  uint64_t storage_id;
  /// The piece.
  uint32_t piece;
  /// Bytes of memory that it takes.
  uint64_t bytes;
  /// Why it goes.
  enum lb_reason reason;
} lb_eviction;

/// Is told of every eviction, once, on the thread that evicts, just before the piece is gone.
typedef void (*lb_evicted_fn)(void *context, const struct lb_eviction *eviction);

/// How a cache is made. All zero is a cache with the defaults.
typedef struct lb_cache_options {
  /// The most bytes of memory that the cache may take; 0 for 256 MiB.
  uint64_t budget;
  /// Whether pieces come on huge pages, where the system has them.
  bool huge_pages;
  /// Is told of evictions; may be null.
  lb_evicted_fn evicted;
  /// What `evicted` is given.
  void *context;
  /// Is given `context` once the library is done with it; may be null.
  lb_drop_fn drop_context;
} lb_cache_options;

/// A cache. Closing a handle ends this handle only. When the last handle of a cache, of its
/// storages and of its players is closed, the cache is aborted, as by lb_cache_abort: reads that
/// still wait end with LB_ABORTED. What is pinned stays.
typedef uint64_t lb_cache;

/// A cache at one moment. Bytes count against the budget, with headers and padding.
typedef struct lb_cache_statistics {
  /// The limit that was asked for last, in bytes.
  uint64_t budget;
  /// What is binding now: the limit, or what was there when it was lowered and still is.
  uint64_t effective_budget;
  /// Bytes in use: the sum of the six that follow `resident_peak`.
  uint64_t resident;
  /// The most bytes that were ever in use at once.
  uint64_t resident_peak;
  /// Of pieces that are arriving.
  uint64_t assembling;
  /// Of pieces that can be found.
  uint64_t published;
  /// Of evicted pieces that a reader may still be at.
  uint64_t limbo;
  /// Of evicted pieces that are pinned.
  uint64_t held;
  /// Of free buffers kept for reuse.
  uint64_t pooled;
  /// Of tables.
  uint64_t table;
  /// Of pieces that are pinned, evicted or not.
  uint64_t pinned;
  /// Lookups that found their piece.
  uint64_t hits;
  /// Lookups that did not.
  uint64_t misses;
  /// Pieces published, ever.
  uint64_t publications;
  /// Pieces evicted, ever.
  uint64_t evictions;
  /// Pieces that failed verification, ever.
  uint64_t verify_failures;
  /// Storages now.
  uint32_t storages;
  /// Snapshots that readers look into now.
  uint32_t snapshots;
  /// Reads that wait now.
  uint64_t waits;
} lb_cache_statistics;

/// Makes a cache. `options` may be null.
///
/// The context of the options is taken over by the call: whatever comes of it, `drop_context`
/// is called once, before it returns if it fails or `evicted` is null, or else when the cache has
/// gone, some time after the last handle.
///
/// LB_BUDGET_TOO_SMALL below 16 KiB, LB_BUDGET_TOO_LARGE above 512 GiB.
lb_status lb_cache_new(const struct lb_cache_options *options, lb_cache *cache);

/// Closes a handle on a cache.
lb_status lb_cache_close(lb_cache cache);

/// The budget in bytes that was asked for last.
lb_status lb_cache_budget(lb_cache cache, uint64_t *bytes);

/// Changes the budget. It binds at once; what is there above it goes when room is next needed, or
/// by lb_cache_shrink. LB_BUDGET_TOO_SMALL for less than what cannot be evicted.
lb_status lb_cache_set_budget(lb_cache cache, uint64_t bytes);

/// Evicts until what is there is within the budget. LB_TIMED_OUT if pins, or readers, still keep
/// more.
lb_status lb_cache_shrink(lb_cache cache, int64_t timeout_ms);

/// What the cache says about itself. Looks through all tables: for dashboards, not for hot paths.
lb_status lb_cache_stats(lb_cache cache, struct lb_cache_statistics *stats);

/// Ends the cache's work: reads that wait end with LB_ABORTED, later ones and writes fail with it,
/// and what is there can still be read. Idempotent.
///
/// Waits up to `timeout_ms` until calls that are under way have ended; `ended`, unless null, says
/// whether they have.
lb_status lb_cache_abort(lb_cache cache, int64_t timeout_ms, bool *ended);

/// Makes a cache the global one of the process, in place of another. It counts as a handle, and
/// leaves the one that is given as it is.
lb_status lb_global_set(lb_cache cache);

/// A new handle on the global cache; LB_MISSING if there is none.
lb_status lb_global_get(lb_cache *cache);

/// From now on there is no global cache.
lb_status lb_global_clear(void);

/* Storages ------------------------------------------------------------------------------------- */

/// Says whether these are the bytes of the piece. Comes on the threads that write, several at once.
typedef bool (*lb_verify_fn)(void *context, uint32_t piece, const uint8_t *data, size_t len);

/// How a storage is used. All zero is a storage with the defaults. At most one of `sha1`, `sha256`
/// and `verify` may be set. A storage that has one publishes each piece when its last block is
/// written, if it is right; without one lb_commit does, unjudged.
typedef struct lb_storage_options {
  /// The most bytes that its pieces may take; 0 for no limit of its own.
  uint64_t share;
  /// Never drops what has arrived of a piece for that of another one.
  bool keep_assemblies;
  /// Lets players read what has been written of a piece that is still arriving.
  bool readable_prefix;
  /// How long a piece may arrive without progress, in ms; 0 for a minute.
  uint64_t assembly_limit_ms;
  /// The segments that a live film keeps; 0 for all.
  uint32_t window;
  /// SHA-1 hashes, 20 bytes for each piece; copied. A piece beyond the list is wrong, whatever its
  /// bytes: LB_VERIFY_FAILED. An empty list is none.
  const uint8_t *sha1;
  /// The length of `sha1` in bytes.
  size_t sha1_len;
  /// The same of SHA-256, 32 bytes for each piece.
  const uint8_t *sha256;
  /// The length of `sha256` in bytes.
  size_t sha256_len;
  /// Judges whole pieces.
  lb_verify_fn verify;
  /// What `verify` is given.
  void *context;
  /// Is given `context` once the library is done with it; may be null.
  lb_drop_fn drop_context;
} lb_storage_options;

/// A storage: one film within a cache. Closing the handle leaves the film where it is.
typedef uint64_t lb_storage;

/// What a storage is.
typedef struct lb_storage_description {
  /// Its number within the cache.
  uint64_t id;
  /// Where the film ends, in bytes; a live film's grows.
  uint64_t total_len;
  /// The first piece; above 0 once segments of a live film were dropped.
  uint32_t first_piece;
  /// One past the last piece.
  uint32_t end_piece;
  /// The number of the current version: each publication and eviction makes a new one.
  uint64_t version;
} lb_storage_description;

/// A storage at one moment.
typedef struct lb_storage_statistics {
  /// The number of the current version.
  uint64_t version;
  /// Pieces present.
  uint32_t present_pieces;
  /// Pieces that are arriving.
  uint32_t assembling_pieces;
  /// Bytes of memory that the pieces present take.
  uint64_t present_bytes;
  /// Pieces evicted, ever.
  uint64_t evictions;
  /// Reads that wait now.
  uint64_t waits;
  /// Windows of players, of closed ones that linger included.
  uint64_t windows;
} lb_storage_statistics;

/// A range of pieces: from `first` up to, without, `end`.
typedef struct lb_range {
  /// The first piece.
  uint32_t first;
  /// One past the last piece.
  uint32_t end;
} lb_range;

/// Adds a film of `total_len` bytes in pieces of `piece_len`, the last of which may be shorter.
/// `options` may be null; their context is taken over as by lb_cache_new, and dropped when the
/// film has gone, or at once if `verify` is null.
///
/// LB_ZERO_LENGTH, LB_ZERO_PIECE_LENGTH, LB_TOO_MANY_PIECES above 2^24, LB_PIECE_TOO_LARGE for
/// pieces of more than half the budget, LB_BUDGET_TOO_SMALL or LB_BUDGET_EXHAUSTED without room
/// for the table, LB_HASH_LIST_LENGTH, LB_INVALID_ARGUMENT for several verifiers, LB_ABORTED.
lb_status lb_storage_add(lb_cache cache,
                         uint64_t total_len,
                         uint32_t piece_len,
                         const struct lb_storage_options *options,
                         lb_storage *storage);

/// Adds a live film, of no segments as yet: a segment is a piece of any length. Otherwise as
/// lb_storage_add.
lb_status lb_storage_add_live(lb_cache cache,
                              const struct lb_storage_options *options,
                              lb_storage *storage);

/// Appends a segment of `len` bytes to a live film; `piece`, unless null, is its number.
/// LB_NOT_SEGMENTED for another film.
lb_status lb_storage_append(lb_storage storage, uint32_t len, uint32_t *piece);

/// Lets the segments before `piece` fall out of a live film: they are evicted, and gone for good. Reads
/// that wait for them end with LB_PIECE_OUT_OF_RANGE.
lb_status lb_storage_drop_before(lb_storage storage,
                                 uint32_t piece);

/// Says that a live film is complete: players at its end find LB_END there.
lb_status lb_storage_end(lb_storage storage);

/// A new handle on the storage of that number; LB_UNKNOWN_STORAGE if there is none any more.
lb_status lb_storage_find(lb_cache cache, uint64_t storage_id, lb_storage *storage);

/// The number of the storage within its cache; none is used twice.
lb_status lb_storage_id(lb_storage storage, uint64_t *storage_id);

/// A new handle on the storage's cache.
lb_status lb_storage_cache(lb_storage storage, lb_cache *cache);

/// Closes a handle on a storage.
lb_status lb_storage_close(lb_storage storage);

/// Removes the film from the cache: its pieces are evicted, its reads end with LB_REMOVED, and what
/// writes, reads or evicts pieces of it fails with LB_UNKNOWN_STORAGE. Its handles are still to be
/// closed. What is pinned stays.
lb_status lb_storage_remove(lb_storage storage);

/// What the storage is.
lb_status lb_storage_info(lb_storage storage, struct lb_storage_description *info);

/// The length of a piece in bytes, there or not.
lb_status lb_piece_len(lb_storage storage, uint32_t piece, uint32_t *len);

/// What the storage says about itself. Looks through its table: for dashboards.
lb_status lb_storage_stats(lb_storage storage, struct lb_storage_statistics *stats);

/// The runs of pieces present, in order: writes as many as `capacity` allows, and to `count` how
/// many there are. `runs` may be null if `capacity` is 0.
lb_status lb_storage_runs(lb_storage storage,
                          struct lb_range *runs,
                          size_t capacity,
                          size_t *count);

/* Pieces in: blocks, or whole ------------------------------------------------------------------ */

/// What lb_write did.
typedef enum lb_progress {
  /// Bytes of the piece are still missing.
  LB_PROGRESS_PARTIAL = 0,
  /// This block completed the piece; it awaits lb_commit, for there is no verifier.
  LB_PROGRESS_COMPLETE = 1,
  /// The piece is published: by this block, or before.
  LB_PROGRESS_PUBLISHED = 2,
} lb_progress;

/// Writes a block of a piece, of any size, in any order, from any thread. Never waits. The bytes
/// are copied; what was written before stays as it is.
///
/// The first block reserves memory for the whole piece: LB_BUDGET_EXHAUSTED, LB_ASSEMBLIES_FULL
/// or LB_SHARE_EXHAUSTED if there is none. LB_VERIFY_FAILED if the piece is complete and wrong: it
/// was dropped. LB_NOT_OPEN if it was abandoned or dropped meanwhile. LB_BUDGET_EXHAUSTED from the
/// last block: the piece is complete, and lb_commit tries again.
///
/// `progress`, unless null, is how far the piece is; `written`, unless null, how many of its bytes
/// are written by now.
lb_status lb_write(lb_storage storage,
                   uint32_t piece,
                   uint32_t offset,
                   const uint8_t *data,
                   size_t len,
                   enum lb_progress *progress,
                   uint64_t *written);

/// Publishes a piece whose blocks are all written; one that is published already is no failure.
/// LB_NOT_OPEN if nothing of it was written, LB_INCOMPLETE if bytes are missing,
/// LB_BUDGET_EXHAUSTED if readers leave no room for a new version of the table.
lb_status lb_commit(lb_storage storage, uint32_t piece);

/// Drops what has arrived of a piece; `dropped`, unless null, says whether anything had.
lb_status lb_abandon(lb_storage storage, uint32_t piece, bool *dropped);

/// Publishes a whole piece, after its verification if there is any. Never waits. A piece that is
/// there already is no failure; what is given is not looked at then. LB_WRONG_LENGTH unless `len` is
/// the length of the piece.
lb_status lb_insert(lb_storage storage,
                    uint32_t piece,
                    const uint8_t *data,
                    size_t len);

/// Evicts the pieces from `first` up to, without, `end` that are there; `count`, unless null, is how
/// many were. LB_BUDGET_EXHAUSTED if readers leave no room for a new version of the table.
lb_status lb_evict(lb_storage storage,
                   uint32_t first,
                   uint32_t end,
                   size_t *count);

/// Whether the piece is there now.
lb_status lb_contains(lb_storage storage, uint32_t piece, bool *contains);

/* Pins: pieces where they lie ------------------------------------------------------------------ */

/// Pins a piece that is there: `data` is where its bytes lie from `offset` on, `len` how many they
/// are, to the end of the piece. Nothing is copied.
///
/// The bytes stay as they are until lb_release, whatever becomes of the piece, its storage and its
/// cache; until then they count against the budget. A pin and another one of the same address are
/// two, each to be released.
///
/// LB_MISSING if the piece is not there, LB_BLOCK_OUT_OF_RANGE unless `offset` lies within it.
lb_status lb_get(lb_storage storage,
                 uint32_t piece,
                 uint32_t offset,
                 const uint8_t **data,
                 size_t *len);

/// Pins `len` bytes of a piece from `offset` on that have been written, whether the piece is
/// published or still arriving, judged or not: for engines that must read back what they wrote.
/// Nothing is copied, and whatever becomes of the piece, the bytes stay until lb_release.
///
/// LB_MISSING unless all of them are written, LB_BLOCK_OUT_OF_RANGE beyond the end of the piece,
/// LB_INVALID_ARGUMENT for no bytes.
lb_status lb_read_back(lb_storage storage,
                       uint32_t piece,
                       uint32_t offset,
                       uint32_t len,
                       const uint8_t **data);

/// Pins an address once more that is pinned.
lb_status lb_retain(const void *data);

/// Releases one pin, on any thread. The address is the one that was given, which need not be the
/// start of the piece. Null is no failure, and nothing happens. LB_NOT_PINNED for any other address
/// of which no pin is out.
lb_status lb_release(const void *data);

/// How many addresses are pinned now, in all caches: for finding leaks.
lb_status lb_pins(size_t *count);

/* Reads that wait ------------------------------------------------------------------------------ */

/// Is told how a read went, once, on the thread that ended it: `data` is a pin, to be released by
/// lb_release, of `len` bytes if `status` is LB_OK, and null otherwise.
typedef void (*lb_read_fn)(void *context, lb_status status, const uint8_t *data, size_t len);

/// A read that waits for its piece.
typedef uint64_t lb_read;

/// Reads a piece from `offset` on, waiting for it if it is not there: the piece becomes wanted. The
/// callback is told, once, how it went: before this returns if the piece is there, and otherwise
/// on the thread that ends the wait, which is one that publishes, cancels, fails the fetch, drops
/// segments, removes or aborts, closes the last handle, or the timer's (LB_TIMED_OUT). A callback that
/// starts the next read may therefore find itself called within itself.
///
/// LB_NULL_POINTER, LB_INVALID_HANDLE, LB_PIECE_OUT_OF_RANGE and LB_BLOCK_OUT_OF_RANGE are returned,
/// and the callback is not called then. All else the callback is told. `read`, unless null, is for
/// lb_read_cancel; it is written before the callback is called, whose call ends the handle.
lb_status lb_read_async(lb_storage storage,
                        uint32_t piece,
                        uint32_t offset,
                        int64_t timeout_ms,
                        lb_read_fn callback,
                        void *context,
                        lb_read *read);

/// Starts to read a piece from `offset` on, as lb_read_async does, for lb_read_poll.
lb_status lb_read_start(lb_storage storage,
                        uint32_t piece,
                        uint32_t offset,
                        int64_t timeout_ms,
                        lb_read *read);

/// How a read of lb_read_start went: LB_PENDING if it still waits after `timeout_ms`. Any other
/// status is its outcome, with which the handle ends: a pin if LB_OK. LB_INVALID_ARGUMENT for a read
/// that has a callback. Who does not ask must call lb_read_cancel: until then the piece is kept.
lb_status lb_read_poll(lb_read read,
                       int64_t timeout_ms,
                       const uint8_t **data,
                       size_t *len);

/// Ends a read. If it has a callback, that was called with LB_CANCELLED when this returns LB_OK;
/// who polls it meanwhile gets LB_CANCELLED. LB_INVALID_HANDLE if the read had ended before: its
/// callback was called with what it ended with, or another thread is calling it, or about to.
lb_status lb_read_cancel(lb_read read);

/// Reads a piece from `offset` on, and waits for it on this thread: a pin. LB_TIMED_OUT,
/// LB_REMOVED or LB_UNKNOWN_STORAGE, LB_ABORTED, LB_FETCH_FAILED if it does not come.
lb_status lb_read_wait(lb_storage storage,
                       uint32_t piece,
                       uint32_t offset,
                       int64_t timeout_ms,
                       const uint8_t **data,
                       size_t *len);

/* Players -------------------------------------------------------------------------------------- */

/// A player: a playhead that reads a film from a position on, and says by that which pieces are
/// wanted next and which should stay. It may be used from several threads; a read that waits on one
/// follows a seek on another, and ends with LB_DROPPED when the player is closed.
typedef uint64_t lb_player;

/// How a player reads. All zero is a player with the defaults.
typedef struct lb_player_options {
  /// The byte of the film at which it starts.
  uint64_t position;
  /// Bytes a second, by which windows in time are measured; 0 if unknown.
  uint64_t bitrate;
  /// How far ahead of the playhead pieces are wanted, and should stay, in bytes; 0 for
  /// `ahead_ms`. As many as fit: in a window shorter than a piece there is none, and a piece is
  /// wanted once the player waits for it. All windows of a cache, ahead and behind, are shrunk alike
  /// to half its budget together: who wants to read far ahead out of a small one asks for little
  /// behind.
  uint64_t ahead_bytes;
  /// The same in time; 0 for a minute.
  uint64_t ahead_ms;
  /// How far behind it pieces should stay, in bytes; 0 for `behind_ms`. What must stay whatever
  /// viewers do is named by lb_lookbehind_set.
  uint64_t behind_bytes;
  /// The same in time; 0 for a minute.
  uint64_t behind_ms;
  /// How long the windows stay after the player is closed.
  uint64_t linger_ms;
  /// Another player of the same viewer, with whom it shares one part of the room; 0 for none.
  lb_player same_viewer_as;
} lb_player_options;

/// Opens a player. `options` may be null.
lb_status lb_player_open(lb_storage storage,
                         const struct lb_player_options *options,
                         lb_player *player);

/// Reads at the playhead and moves it on: copies up to `capacity` bytes, as many as are there, at
/// least one, and at most to the end of a piece; `count` is how many. LB_END at the end of the film
/// or at the limit, LB_PENDING if nothing came in time, LB_DROPPED if the player was closed
/// meanwhile; LB_REMOVED or LB_UNKNOWN_STORAGE, LB_ABORTED, LB_FETCH_FAILED.
lb_status lb_player_read(lb_player player,
                         uint8_t *buffer,
                         size_t capacity,
                         int64_t timeout_ms,
                         size_t *count);

/// Reads at the playhead without a copy: pins the rest of the piece that it is in, up to the
/// limit, and moves it on. LB_END, LB_PENDING and failures as for lb_player_read.
lb_status lb_player_next(lb_player player, int64_t timeout_ms, const uint8_t **data, size_t *len);

/// Moves the playhead to a byte of the film; past the end it finds LB_END. What only the old place
/// wanted is fetched no more.
lb_status lb_player_seek(lb_player player, uint64_t position);

/// The byte of the film that is read next.
lb_status lb_player_position(lb_player player, uint64_t *position);

/// Reads end at this byte of the film, and nothing beyond it is wanted; UINT64_MAX for no limit.
lb_status lb_player_limit(lb_player player, uint64_t end);

/// Says that the viewer has paused: what lies ahead may go before what others need sooner.
lb_status lb_player_pause(lb_player player);

/// Says that the viewer plays on.
lb_status lb_player_resume(lb_player player);

/// Sets the bitrate in bytes a second; 0 if it is unknown.
lb_status lb_player_set_bitrate(lb_player player, uint64_t bitrate);

/// Closes a player, and ends what reads of it wait on other threads.
lb_status lb_player_close(lb_player player);

/* What should stay ----------------------------------------------------------------------------- */

/// How much of the look-behind that was named is there.
typedef struct lb_lookbehind_statistics {
  /// Pieces that were named and are there.
  uint32_t available;
  /// Pieces that were named.
  uint32_t named;
  /// Bytes of memory that the available ones take.
  uint64_t bytes;
} lb_lookbehind_statistics;

/// Prefers the pieces from `first` up to, without, `end` when room is needed, as the head and tail of
/// a film with which every player begins. A preference, not a promise. Adds to what was reserved
/// before.
lb_status lb_reserve(lb_storage storage,
                     uint32_t first,
                     uint32_t end);

/// Takes back all reservations of the storage.
lb_status lb_unreserve(lb_storage storage);

/// Prefers these pieces as if they lay behind a playhead, in place of those named before.
lb_status lb_lookbehind_set(lb_storage storage, const uint32_t *pieces, size_t count);

/// Names no look-behind any more.
lb_status lb_lookbehind_clear(lb_storage storage);

/// Whether a seek back to that piece finds it.
lb_status lb_lookbehind_available(lb_storage storage, uint32_t piece, bool *available);

/// How much of the look-behind that was named is there.
lb_status lb_lookbehind_stats(lb_storage storage, struct lb_lookbehind_statistics *stats);

/* What is wanted ------------------------------------------------------------------------------- */

/// A piece that was taken on to be fetched: nobody else is offered it until the handle is closed.
typedef uint64_t lb_fetch;

/// Takes on the most urgent piece that is missing, that a read or a player needs, and that nobody
/// else fetches; waits for one. `piece` and `len`, each unless null, are its number and its length
/// in bytes. The piece is to be written, or inserted, and then the handle to be closed.
///
/// LB_PENDING if nothing is wanted in time; LB_END when the storage was removed or the cache
/// aborted.
lb_status lb_wanted_next(lb_storage storage,
                         int64_t timeout_ms,
                         lb_fetch *fetch,
                         uint32_t *piece,
                         uint32_t *len);

/// Whether nobody needs the piece any more: the player went elsewhere or was closed, the read was
/// cancelled, the storage removed, the cache aborted.
lb_status lb_fetch_cancelled(lb_fetch fetch, bool *cancelled);

/// Says that the piece cannot be had, and closes the handle: reads that wait for it end with
/// LB_FETCH_FAILED and this reason, a text that may be null.
lb_status lb_fetch_fail(lb_fetch fetch, const char *reason);

/// Closes the handle. Unless the piece has arrived, it is offered again if it is still wanted.
lb_status lb_fetch_close(lb_fetch fetch);

#ifdef __cplusplus
}
#endif

#endif
