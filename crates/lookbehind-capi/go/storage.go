package lookbehind

// #include <stdlib.h>
// #include <lookbehind.h>
import "C"

import (
	"time"
	"unsafe"
)

// StorageOptions say how a storage is used. The zero value is a storage with the defaults. At most one
// of SHA1 and SHA256 may be set; a storage that has one publishes each piece when its last block is
// written, if it is right. Without one [Storage.Commit] does, unjudged.
type StorageOptions struct {
	// The most bytes that its pieces may take; 0 for no limit of its own.
	Share uint64
	// Never drops what has arrived of a piece for that of another one.
	KeepAssemblies bool
	// Lets players read what has been written of a piece that is still arriving.
	ReadablePrefix bool
	// How long a piece may arrive without progress, in whole milliseconds; 0 for a minute.
	AssemblyLimit time.Duration
	// The segments that a live film keeps; 0 for all.
	Window uint32
	// SHA-1 hashes, 20 bytes for each piece.
	SHA1 []byte
	// SHA-256 hashes, 32 bytes for each piece.
	SHA256 []byte
}

// Storage is a handle on a storage: one film within a cache. Closing it leaves the film where it is.
type Storage struct {
	handle C.lb_storage
}

// Add adds a film of totalLen bytes in pieces of pieceLen, the last of which may be shorter.
//
// [ErrZeroLength], [ErrZeroPieceLength], [ErrTooManyPieces] above 2^24, [ErrPieceTooLarge] for pieces of
// more than half the budget, [ErrBudgetTooSmall] or [ErrBudgetExhausted] without room for the table,
// [ErrHashListLength], [ErrInvalidArgument] for hashes of both kinds, [ErrAborted].
func (c *Cache) Add(totalLen uint64, pieceLen uint32, options StorageOptions) (*Storage, error) {
	asked, free := options.inC()
	defer free()
	return newStorage(func(storage *C.lb_storage) C.lb_status {
		return C.lb_storage_add(c.handle, C.uint64_t(totalLen), C.uint32_t(pieceLen), &asked, storage)
	})
}

// AddLive adds a live film, of no segments as yet: a segment is a piece of any length. Otherwise as
// [Cache.Add].
func (c *Cache) AddLive(options StorageOptions) (*Storage, error) {
	asked, free := options.inC()
	defer free()
	return newStorage(func(storage *C.lb_storage) C.lb_status {
		return C.lb_storage_add_live(c.handle, &asked, storage)
	})
}

// Find gives a new handle on the storage of that number; [ErrUnknownStorage] if there is none any more.
func (c *Cache) Find(id uint64) (*Storage, error) {
	return newStorage(func(storage *C.lb_storage) C.lb_status {
		return C.lb_storage_find(c.handle, C.uint64_t(id), storage)
	})
}

// inC copies the hashes: memory of Go's that C is given must not point to other memory of Go's.
func (o *StorageOptions) inC() (asked C.lb_storage_options, free func()) {
	asked = C.lb_storage_options{
		share:             C.uint64_t(o.Share),
		keep_assemblies:   C.bool(o.KeepAssemblies),
		readable_prefix:   C.bool(o.ReadablePrefix),
		assembly_limit_ms: millis(o.AssemblyLimit),
		window:            C.uint32_t(o.Window),
	}
	if o.SHA1 != nil {
		asked.sha1 = (*C.uint8_t)(C.CBytes(o.SHA1))
		asked.sha1_len = C.size_t(len(o.SHA1))
	}
	if o.SHA256 != nil {
		asked.sha256 = (*C.uint8_t)(C.CBytes(o.SHA256))
		asked.sha256_len = C.size_t(len(o.SHA256))
	}
	return asked, func() {
		C.free(unsafe.Pointer(asked.sha1))
		C.free(unsafe.Pointer(asked.sha256))
	}
}

func newStorage(get func(*C.lb_storage) C.lb_status) (*Storage, error) {
	var handle C.lb_storage
	if err := call(func() C.lb_status { return get(&handle) }); err != nil {
		return nil, err
	}
	return &Storage{handle}, nil
}

// Close closes the handle. A [Storage.Next] that waits on it ends with [ErrInvalidHandle].
func (s *Storage) Close() error {
	return call(func() C.lb_status { return C.lb_storage_close(s.handle) })
}

// Remove removes the film from the cache: its pieces are evicted, its reads end with [ErrRemoved], and
// what writes, reads or evicts pieces of it fails with [ErrUnknownStorage]. Its handles are still to be
// closed. What is pinned stays.
func (s *Storage) Remove() error {
	return call(func() C.lb_status { return C.lb_storage_remove(s.handle) })
}

// ID is the number of the storage within its cache; none is used twice.
func (s *Storage) ID() (uint64, error) {
	var id C.uint64_t
	err := call(func() C.lb_status { return C.lb_storage_id(s.handle, &id) })
	return uint64(id), err
}

// Cache gives a new handle on the storage's cache.
func (s *Storage) Cache() (*Cache, error) {
	return newCache(func(cache *C.lb_cache) C.lb_status { return C.lb_storage_cache(s.handle, cache) })
}

// Append appends a segment of that many bytes to a live film, and gives its number. [ErrNotSegmented]
// for another film.
func (s *Storage) Append(segmentLen uint32) (piece uint32, err error) {
	var number C.uint32_t
	err = call(func() C.lb_status {
		return C.lb_storage_append(s.handle, C.uint32_t(segmentLen), &number)
	})
	return uint32(number), err
}

// DropBefore lets the segments before that one fall out of a live film: they are evicted, and gone for
// good. Reads that wait for them end with [ErrPieceOutOfRange].
func (s *Storage) DropBefore(piece uint32) error {
	return call(func() C.lb_status { return C.lb_storage_drop_before(s.handle, C.uint32_t(piece)) })
}

// End says that a live film is complete: players at its end find [io.EOF] there.
func (s *Storage) End() error {
	return call(func() C.lb_status { return C.lb_storage_end(s.handle) })
}

// Info says what a storage is.
type Info struct {
	// Its number within the cache.
	ID uint64
	// Where the film ends, in bytes; a live film's grows.
	TotalLen uint64
	// The first piece; above 0 once segments of a live film were dropped.
	FirstPiece uint32
	// One past the last piece.
	EndPiece uint32
	// The number of the current version: each publication and eviction makes a new one.
	Version uint64
}

// Info says what the storage is.
func (s *Storage) Info() (Info, error) {
	var d C.lb_storage_description
	if err := call(func() C.lb_status { return C.lb_storage_info(s.handle, &d) }); err != nil {
		return Info{}, err
	}
	return Info{
		ID:         uint64(d.id),
		TotalLen:   uint64(d.total_len),
		FirstPiece: uint32(d.first_piece),
		EndPiece:   uint32(d.end_piece),
		Version:    uint64(d.version),
	}, nil
}

// PieceLen is the length of a piece in bytes, there or not.
func (s *Storage) PieceLen(piece uint32) (uint32, error) {
	var length C.uint32_t
	err := call(func() C.lb_status { return C.lb_piece_len(s.handle, C.uint32_t(piece), &length) })
	return uint32(length), err
}

// StorageStats are the figures of a storage at one moment.
type StorageStats struct {
	// The number of the current version.
	Version uint64
	// Pieces present.
	PresentPieces uint32
	// Pieces that are arriving.
	AssemblingPieces uint32
	// Bytes of memory that the pieces present take.
	PresentBytes uint64
	// Pieces evicted, ever.
	Evictions uint64
	// Reads that wait now.
	Waits uint64
	// Windows of players, of closed ones that linger included.
	Windows uint64
}

// Stats looks through the storage's table: for dashboards.
func (s *Storage) Stats() (StorageStats, error) {
	var stats C.lb_storage_statistics
	if err := call(func() C.lb_status { return C.lb_storage_stats(s.handle, &stats) }); err != nil {
		return StorageStats{}, err
	}
	return StorageStats{
		Version:          uint64(stats.version),
		PresentPieces:    uint32(stats.present_pieces),
		AssemblingPieces: uint32(stats.assembling_pieces),
		PresentBytes:     uint64(stats.present_bytes),
		Evictions:        uint64(stats.evictions),
		Waits:            uint64(stats.waits),
		Windows:          uint64(stats.windows),
	}, nil
}

// Range is a run of pieces: from First up to, without, End.
type Range struct {
	First, End uint32
}

// Runs are the runs of pieces present, in order.
func (s *Storage) Runs() ([]Range, error) {
	for capacity := 64; ; {
		runs := make([]C.lb_range, capacity)
		var count C.size_t
		err := call(func() C.lb_status {
			return C.lb_storage_runs(s.handle, &runs[0], C.size_t(capacity), &count)
		})
		if err != nil {
			return nil, err
		}
		if int(count) > capacity {
			capacity = int(count) + 64 // more may have come meanwhile
			continue
		}
		found := make([]Range, count)
		for i := range found {
			found[i] = Range{uint32(runs[i].first), uint32(runs[i].end)}
		}
		return found, nil
	}
}
