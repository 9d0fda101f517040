package lookbehind_test

import (
	"context"
	"testing"

	"lookbehind"
)

func TestABudgetIsChangedAndKept(t *testing.T) {
	cache := newCache(t)
	film := add(t, cache, lookbehind.StorageOptions{})
	insertAll(t, film)
	ok(t, cache.SetBudget(64<<10))
	budget, err := cache.Budget()
	ok(t, err)
	check(t, budget == 64<<10, "the budget is %d", budget)
	ok(t, cache.Shrink(patience(t)))
	stats, err := cache.Stats()
	ok(t, err)
	check(t, stats.Resident <= 64<<10 && stats.Evictions > 0, "%+v", stats)

	gives(t, lookbehind.ErrBudgetTooSmall, cache.SetBudget(1))
	_, err = lookbehind.New(lookbehind.Options{Budget: 1 << 60})
	gives(t, lookbehind.ErrBudgetTooLarge, err)
}

func TestShrinkWaitsForPinsAsLongAsItsContext(t *testing.T) {
	cache := newCache(t)
	film := add(t, cache, lookbehind.StorageOptions{})
	insertAll(t, film)
	var held []*lookbehind.Piece
	for piece := uint32(0); piece < pieces; piece++ {
		pin, err := film.Get(piece, 0)
		ok(t, err)
		held = append(held, pin)
	}
	ok(t, cache.SetBudget(32<<10))
	ctx, cancel := context.WithCancel(patience(t))
	cancel()
	gives(t, context.Canceled, cache.Shrink(ctx))

	shrunk := make(chan error)
	go func() { shrunk <- cache.Shrink(patience(t)) }()
	for _, pin := range held {
		pin.Release()
	}
	ok(t, <-shrunk)
}

func TestTheGlobalCacheIsFoundUntilItIsCleared(t *testing.T) {
	_, err := lookbehind.Global()
	gives(t, lookbehind.ErrMissing, err)
	cache := newCache(t)
	ok(t, lookbehind.SetGlobal(cache))
	t.Cleanup(func() { lookbehind.ClearGlobal() })
	film := add(t, cache, lookbehind.StorageOptions{})
	id, err := film.ID()
	ok(t, err)

	global, err := lookbehind.Global()
	ok(t, err)
	defer global.Close()
	found, err := global.Find(id)
	ok(t, err)
	defer found.Close()
	insert(t, film, 3)
	there, err := found.Contains(3)
	ok(t, err)
	check(t, there, "it is the same film")

	ok(t, lookbehind.ClearGlobal())
	_, err = lookbehind.Global()
	gives(t, lookbehind.ErrMissing, err)
}

func TestAnAbortEndsWhatWaitsAndLeavesWhatIsThere(t *testing.T) {
	cache := newCache(t)
	film := add(t, cache, lookbehind.StorageOptions{})
	insert(t, film, 0)
	ended := make(chan error)
	go func() {
		_, err := film.Read(patience(t), 1, 0)
		ended <- err
	}()
	waiting(t, film, 1)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	// Whether calls are still under way is not known; that it was aborted is.
	if err := cache.Abort(over); err != nil {
		gives(t, context.Canceled, err)
	}
	gives(t, lookbehind.ErrAborted, <-ended)
	ok(t, cache.Abort(patience(t)))
	gives(t, lookbehind.ErrAborted, film.Insert(1, origin(1)))
	piece, err := film.Get(0, 0)
	ok(t, err)
	same(t, origin(0), piece.Bytes())
	piece.Release()
}
