package lookbehind

// #include <lookbehind.h>
import "C"

import (
	"context"
	"errors"
)

// Options say how a cache is made. The zero value is a cache with the defaults.
type Options struct {
	// The most bytes of memory that the cache may take; 0 for 256 MiB.
	Budget uint64
	// Whether pieces come on huge pages, where the system has them.
	HugePages bool
}

// Cache is a handle on a cache.
type Cache struct {
	handle C.lb_cache
}

// New makes a cache. [ErrBudgetTooSmall] below 16 KiB, [ErrBudgetTooLarge] above 512 GiB.
func New(options Options) (*Cache, error) {
	asked := C.lb_cache_options{
		budget:     C.uint64_t(options.Budget),
		huge_pages: C.bool(options.HugePages),
	}
	return newCache(func(cache *C.lb_cache) C.lb_status { return C.lb_cache_new(&asked, cache) })
}

// Global gives a new handle on the global cache of the process; [ErrMissing] if there is none.
func Global() (*Cache, error) {
	return newCache(func(cache *C.lb_cache) C.lb_status { return C.lb_global_get(cache) })
}

// SetGlobal makes a cache the global one of the process, in place of another: so code in other
// languages that uses the library finds it. It counts as a handle, and leaves the one that is given as
// it is.
func SetGlobal(cache *Cache) error {
	return call(func() C.lb_status { return C.lb_global_set(cache.handle) })
}

// ClearGlobal takes the global cache back: from now on there is none.
func ClearGlobal() error {
	return call(func() C.lb_status { return C.lb_global_clear() })
}

func newCache(get func(*C.lb_cache) C.lb_status) (*Cache, error) {
	var handle C.lb_cache
	if err := call(func() C.lb_status { return get(&handle) }); err != nil {
		return nil, err
	}
	return &Cache{handle}, nil
}

// Close closes the handle. Reads end with [ErrAborted] if it was the last one.
func (c *Cache) Close() error {
	return call(func() C.lb_status { return C.lb_cache_close(c.handle) })
}

// Budget is the budget in bytes that was asked for last.
func (c *Cache) Budget() (uint64, error) {
	var bytes C.uint64_t
	err := call(func() C.lb_status { return C.lb_cache_budget(c.handle, &bytes) })
	return uint64(bytes), err
}

// SetBudget changes the budget. It binds at once; what is there above it goes when room is next
// needed, or by [Cache.Shrink]. [ErrBudgetTooSmall] for less than what cannot be evicted.
func (c *Cache) SetBudget(bytes uint64) error {
	return call(func() C.lb_status { return C.lb_cache_set_budget(c.handle, C.uint64_t(bytes)) })
}

// Shrink evicts until what is there is within the budget, and waits for that while pins, or readers,
// keep more.
func (c *Cache) Shrink(ctx context.Context) error {
	return await(ctx, func(ms C.int64_t) error {
		err := call(func() C.lb_status { return C.lb_cache_shrink(c.handle, ms) })
		if errors.Is(err, ErrTimedOut) {
			return pending
		}
		return err
	})
}

// Abort ends the cache's work: reads that wait end with [ErrAborted], later ones and writes fail with
// it, and what is there can still be read. Idempotent.
//
// Then it waits until calls that are under way have ended. The context bounds that alone: one that
// has ended leaves the cache aborted as well.
func (c *Cache) Abort(ctx context.Context) error {
	abort := func(ms C.int64_t) error {
		var ended C.bool
		err := call(func() C.lb_status { return C.lb_cache_abort(c.handle, ms, &ended) })
		if err == nil && !bool(ended) {
			return pending
		}
		return err
	}
	if err := abort(0); err != pending {
		return err
	}
	return await(ctx, abort)
}

// CacheStats are the figures of a cache at one moment. Bytes count against the budget, with headers
// and padding.
type CacheStats struct {
	// The limit that was asked for last, in bytes.
	Budget uint64
	// What is binding now: the limit, or what was there when it was lowered and still is.
	EffectiveBudget uint64
	// Bytes in use: the sum of the six that follow ResidentPeak.
	Resident uint64
	// The most bytes that were ever in use at once.
	ResidentPeak uint64
	// Of pieces that are arriving.
	Assembling uint64
	// Of pieces that can be found.
	Published uint64
	// Of evicted pieces that a reader may still be at.
	Limbo uint64
	// Of evicted pieces that are pinned.
	Held uint64
	// Of free buffers kept for reuse.
	Pooled uint64
	// Of tables.
	Table uint64
	// Of pieces that are pinned, evicted or not.
	Pinned uint64
	// Lookups that found their piece.
	Hits uint64
	// Lookups that did not.
	Misses uint64
	// Pieces published, ever.
	Publications uint64
	// Pieces evicted, ever.
	Evictions uint64
	// Pieces that failed verification, ever.
	VerifyFailures uint64
	// Storages now.
	Storages uint32
	// Snapshots that readers look into now.
	Snapshots uint32
	// Reads that wait now.
	Waits uint64
}

// Stats looks through all tables: for dashboards, not for hot paths.
func (c *Cache) Stats() (CacheStats, error) {
	var s C.lb_cache_statistics
	if err := call(func() C.lb_status { return C.lb_cache_stats(c.handle, &s) }); err != nil {
		return CacheStats{}, err
	}
	return CacheStats{
		Budget:          uint64(s.budget),
		EffectiveBudget: uint64(s.effective_budget),
		Resident:        uint64(s.resident),
		ResidentPeak:    uint64(s.resident_peak),
		Assembling:      uint64(s.assembling),
		Published:       uint64(s.published),
		Limbo:           uint64(s.limbo),
		Held:            uint64(s.held),
		Pooled:          uint64(s.pooled),
		Table:           uint64(s.table),
		Pinned:          uint64(s.pinned),
		Hits:            uint64(s.hits),
		Misses:          uint64(s.misses),
		Publications:    uint64(s.publications),
		Evictions:       uint64(s.evictions),
		VerifyFailures:  uint64(s.verify_failures),
		Storages:        uint32(s.storages),
		Snapshots:       uint32(s.snapshots),
		Waits:           uint64(s.waits),
	}, nil
}
