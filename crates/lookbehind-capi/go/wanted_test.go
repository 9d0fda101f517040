package lookbehind_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"lookbehind"
)

// fetch fetches what is wanted of a film until the context ends.
func fetch(ctx context.Context, t testing.TB, film *lookbehind.Storage) {
	for {
		fetch, err := film.Next(ctx)
		if errors.Is(err, context.Canceled) || err == io.EOF {
			return
		}
		if err != nil {
			t.Errorf("nothing is wanted: %v", err)
			return
		}
		if err := film.Insert(fetch.Piece(), origin(fetch.Piece())); err != nil {
			t.Errorf("piece %d was not inserted: %v", fetch.Piece(), err)
		}
		if err := fetch.Close(); err != nil {
			t.Errorf("piece %d was not closed: %v", fetch.Piece(), err)
		}
	}
}

// fetching has several goroutines fetch until the test ends.
func fetching(t testing.TB, film *lookbehind.Storage) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	for i := 0; i < 3; i++ {
		go func() {
			fetch(ctx, t, film)
			done <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		cancel()
		for i := 0; i < 3; i++ {
			<-done
		}
	})
}

func TestAFetchIsOfferedOnceAndCancelledWhenNobodyNeedsIt(t *testing.T) {
	film := newFilm(t)
	player := open(t, film, lookbehind.PlayerOptions{AheadBytes: pieceLen, BehindBytes: 1})
	fetch, err := film.Next(patience(t))
	ok(t, err)
	check(t, fetch.Piece() == 0 && fetch.Len() == pieceLen, "%d, %d", fetch.Piece(), fetch.Len())
	check(t, !fetch.Cancelled(), "the player needs it")
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = film.Next(ctx)
	gives(t, context.DeadlineExceeded, err)

	ok(t, fetch.Close())
	again, err := film.Next(patience(t))
	ok(t, err)
	check(t, again.Piece() == 0, "%d is offered again", again.Piece())
	ok(t, player.Close())
	check(t, again.Cancelled(), "nobody needs it")
	ok(t, again.Close())
}

func TestAFetchThatFailsEndsWhoWaits(t *testing.T) {
	film := newFilm(t)
	player := open(t, film, lookbehind.PlayerOptions{})
	ended := make(chan error)
	go func() {
		_, err := player.Read(make([]byte, 1))
		ended <- err
	}()
	waiting(t, film, 1)
	fetch, err := film.Next(patience(t))
	ok(t, err)
	ok(t, fetch.Fail("the origin is gone"))
	err = <-ended
	gives(t, lookbehind.ErrFetchFailed, err)
	gives(t, lookbehind.ErrInvalidHandle, fetch.Close())
}

func TestNextEndsWithItsContextItsHandleAndItsFilm(t *testing.T) {
	film := newFilm(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	next := func(ctx context.Context, film *lookbehind.Storage) {
		_, err := film.Next(ctx)
		ended <- err
	}
	go next(ctx, film)
	cancel()
	gives(t, context.Canceled, <-ended)

	cache, err := film.Cache()
	ok(t, err)
	defer cache.Close()
	id, err := film.ID()
	ok(t, err)
	again, err := cache.Find(id)
	ok(t, err)
	go next(context.Background(), again)
	ok(t, again.Close())
	gives(t, lookbehind.ErrInvalidHandle, <-ended)

	go next(context.Background(), film)
	ok(t, film.Remove())
	gives(t, io.EOF, <-ended)
}
