package lookbehind_test

import (
	"context"
	"errors"
	"math/rand"
	"runtime"
	"sync"
	"testing"

	"lookbehind"
)

func pins(t testing.TB) int {
	t.Helper()
	count, err := lookbehind.Pins()
	ok(t, err)
	return count
}

func TestAPinOutlivesItsCache(t *testing.T) {
	cache := newCache(t)
	film := add(t, cache, lookbehind.StorageOptions{})
	insert(t, film, 0)
	piece, err := film.Get(0, 100)
	ok(t, err)
	count, err := film.Evict(0, 1)
	ok(t, err)
	check(t, count == 1, "%d were evicted", count)
	ok(t, film.Close())
	ok(t, cache.Close())
	same(t, origin(0)[100:], piece.Bytes())
	piece.Release()
}

func TestAPinIsReleasedOnceByWhomever(t *testing.T) {
	film := newFilm(t)
	insert(t, film, 0)
	one, err := film.Get(0, 0)
	ok(t, err)
	other, err := film.Get(0, 0)
	ok(t, err)
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			one.Release()
			one.Release()
		}()
	}
	all.Wait()
	check(t, one.Bytes() == nil, "there are no bytes of a pin that was released")
	same(t, origin(0), other.Bytes())
	other.Release()
	check(t, pins(t) == 0, "%d pins are left", pins(t))
}

func TestAPinThatNobodyHasIsLetGo(t *testing.T) {
	film := newFilm(t)
	insert(t, film, 0)
	_, err := film.Get(0, 0)
	ok(t, err)
	eventually(t, "the collector has found the pin", func() bool {
		runtime.GC()
		return pins(t) == 0
	})
}

func TestAReadWaitsForItsPiece(t *testing.T) {
	film := newFilm(t)
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			piece, err := film.Read(patience(t), 6, 10)
			if err != nil {
				t.Errorf("the read failed: %v", err)
				return
			}
			defer piece.Release()
			if string(piece.Bytes()) != string(origin(6)[10:]) {
				t.Error("the bytes are others")
			}
		}()
	}
	waiting(t, film, 4)
	insert(t, film, 6)
	all.Wait()
}

func TestAReadEndsWithItsContext(t *testing.T) {
	film := newFilm(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := film.Read(ctx, 0, 0)
		ended <- err
	}()
	waiting(t, film, 1)
	cancel()
	gives(t, context.Canceled, <-ended)
	waiting(t, film, 0)

	insert(t, film, 0)
	_, err := film.Read(ctx, 0, 0)
	gives(t, context.Canceled, err)
	ctx, cancel = context.WithTimeout(context.Background(), 1)
	defer cancel()
	_, err = film.Read(ctx, 1, 0)
	gives(t, context.DeadlineExceeded, err)
}

func TestManyReadWhatOthersInsertAndEvict(t *testing.T) {
	cache, err := lookbehind.New(lookbehind.Options{Budget: 64 << 10})
	ok(t, err)
	defer cache.Close()
	film := add(t, cache, lookbehind.StorageOptions{})
	ctx, cancel := context.WithCancel(patience(t))
	var readers, writers sync.WaitGroup
	for seed := int64(0); seed < 2; seed++ {
		writers.Add(1)
		go func(random *rand.Rand) {
			defer writers.Done()
			for ctx.Err() == nil {
				piece := uint32(random.Intn(pieces))
				inserted := film.Insert(piece, origin(piece))
				_, evicted := film.Evict(piece/2, piece/2+1)
				for _, err := range []error{inserted, evicted} {
					// All the room may be in readers' hands.
					if err != nil && !errors.Is(err, lookbehind.ErrBudgetExhausted) {
						t.Errorf("a writer failed: %v", err)
					}
				}
			}
		}(rand.New(rand.NewSource(seed)))
	}
	for seed := int64(0); seed < 4; seed++ {
		readers.Add(1)
		go func(random *rand.Rand) {
			defer readers.Done()
			for hits := 0; hits < 300; {
				number := uint32(random.Intn(pieces))
				piece, err := film.Get(number, 0)
				if errors.Is(err, lookbehind.ErrMissing) {
					piece, err = film.Read(ctx, number, 0)
				}
				if err != nil {
					t.Errorf("the read failed: %v", err)
					return
				}
				if string(piece.Bytes()) != string(origin(number)) {
					t.Errorf("piece %d has other bytes", number)
				}
				piece.Release()
				hits++
			}
		}(rand.New(rand.NewSource(100 + seed)))
	}
	readers.Wait()
	cancel()
	writers.Wait()
	stats, err := cache.Stats()
	ok(t, err)
	check(t, stats.ResidentPeak <= 64<<10 && stats.Waits == 0, "%+v", stats)
}
