package lookbehind_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"lookbehind"
)

func TestAFailureIsItsStatusAndHasFigures(t *testing.T) {
	film := newFilm(t)
	_, err := film.Get(7, 0)
	gives(t, lookbehind.ErrMissing, err)
	check(t, !errors.Is(err, lookbehind.ErrRemoved), "a failure is of one kind: %v", err)

	var failure *lookbehind.Error
	check(t, errors.As(err, &failure), "it is an *Error: %v", err)
	check(t, failure.Status == lookbehind.ErrMissing, "the status: %v", failure.Status)
	check(t, strings.Contains(failure.Message, "7"), "the piece is named: %q", failure.Message)
	check(t, lookbehind.ErrMissing.Error() == "LB_MISSING", "%v", lookbehind.ErrMissing)
}

func TestAMessageOfAnyLengthComesWhole(t *testing.T) {
	film := newFilm(t)
	for _, length := range []int{0, 200, 255, 256, 10_000} {
		reason := strings.Repeat("x", length)
		failed := make(chan error)
		go func() {
			_, err := film.Read(patience(t), 0, 0)
			failed <- err
		}()
		fetch, err := film.Next(patience(t))
		ok(t, err)
		ok(t, fetch.Fail(reason))
		err = <-failed
		gives(t, lookbehind.ErrFetchFailed, err)
		check(t, strings.Contains(err.Error(), reason), "the reason is in %d bytes", len(err.Error()))
	}
}

func TestAMessageIsOfTheCallThatFailed(t *testing.T) {
	film, err := newCache(t).Add(10_000, 1, lookbehind.StorageOptions{})
	ok(t, err)
	defer film.Close()
	var all sync.WaitGroup
	for i := uint32(1); i <= 8; i++ {
		all.Add(1)
		go func(piece uint32) {
			defer all.Done()
			for n := 0; n < 2000; n++ {
				_, err := film.Get(piece, 0)
				if err == nil || !strings.Contains(err.Error(), fmt.Sprint(piece)) {
					t.Errorf("piece %d failed by %v", piece, err)
					return
				}
			}
		}(1111 * i)
	}
	all.Wait()
}

func TestEveryStatusOfTheLibraryHasAName(t *testing.T) {
	named := map[lookbehind.Status]bool{0: true, 1: true, 2: true} // ok, pending, end
	for _, status := range []lookbehind.Status{
		lookbehind.ErrCancelled, lookbehind.ErrInvalidHandle, lookbehind.ErrNullPointer,
		lookbehind.ErrInvalidArgument, lookbehind.ErrNotPinned, lookbehind.ErrPanicked,
		lookbehind.ErrOther, lookbehind.ErrBudgetExhausted, lookbehind.ErrUnknownStorage,
		lookbehind.ErrMissing, lookbehind.ErrPieceOutOfRange, lookbehind.ErrBlockOutOfRange,
		lookbehind.ErrWrongLength, lookbehind.ErrVerifyFailed, lookbehind.ErrNotOpen,
		lookbehind.ErrIncomplete, lookbehind.ErrTimedOut, lookbehind.ErrAborted,
		lookbehind.ErrRemoved, lookbehind.ErrFetchFailed, lookbehind.ErrZeroLength,
		lookbehind.ErrZeroPieceLength, lookbehind.ErrTooManyPieces, lookbehind.ErrPieceTooLarge,
		lookbehind.ErrBudgetTooLarge, lookbehind.ErrBudgetTooSmall, lookbehind.ErrNotSegmented,
		lookbehind.ErrNotFixed, lookbehind.ErrTooFragmented, lookbehind.ErrAssembliesFull,
		lookbehind.ErrShareExhausted, lookbehind.ErrOutOfMemory, lookbehind.ErrDropped,
		lookbehind.ErrOffsetOutOfRange, lookbehind.ErrHashListLength,
	} {
		named[status] = true
	}
	for status := lookbehind.Status(-1); status < 1000; status++ {
		known := status.Error() != "unknown status"
		check(t, known == named[status], "%d is %v", int(status), status)
	}
}

func TestAHandleThatWasClosedIsRefused(t *testing.T) {
	cache := newCache(t)
	film := add(t, cache, lookbehind.StorageOptions{})
	player := open(t, film, lookbehind.PlayerOptions{})
	fetch, err := film.Next(patience(t))
	ok(t, err)
	for _, handle := range []interface{ Close() error }{fetch, player, film, cache} {
		ok(t, handle.Close())
		gives(t, lookbehind.ErrInvalidHandle, handle.Close())
	}

	ctx := context.Background()
	for name, use := range map[string]func() error{
		"SetGlobal":     func() error { return lookbehind.SetGlobal(cache) },
		"Budget":        func() error { _, err := cache.Budget(); return err },
		"Cache.Stats":   func() error { _, err := cache.Stats(); return err },
		"Shrink":        func() error { return cache.Shrink(ctx) },
		"Abort":         func() error { return cache.Abort(ctx) },
		"Add":           func() error { _, err := cache.Add(1, 1, lookbehind.StorageOptions{}); return err },
		"Find":          func() error { _, err := cache.Find(0); return err },
		"Storage.Stats": func() error { _, err := film.Stats(); return err },
		"Runs":          func() error { _, err := film.Runs(); return err },
		"Write":         func() error { _, err := film.Write(0, 0, []byte{1}); return err },
		"Insert":        func() error { return film.Insert(0, origin(0)) },
		"Get":           func() error { _, err := film.Get(0, 0); return err },
		"Storage.Read":  func() error { _, err := film.Read(ctx, 0, 0); return err },
		"Storage.Next":  func() error { _, err := film.Next(ctx); return err },
		"Open":          func() error { _, err := film.Open(lookbehind.PlayerOptions{}); return err },
		"Read":          func() error { _, err := player.Read(make([]byte, 1)); return err },
		"Player.Next":   func() error { _, err := player.Next(ctx); return err },
		"Seek":          func() error { _, err := player.Seek(0, 0); return err },
		"Position":      func() error { _, err := player.Position(); return err },
		"Fail":          func() error { return fetch.Fail("") },
		"the zero one":  func() error { return new(lookbehind.Storage).Commit(0) },
	} {
		if err := use(); !errors.Is(err, lookbehind.ErrInvalidHandle) {
			t.Errorf("%s: %v", name, err)
		}
	}
	check(t, fetch.Cancelled(), "nobody needs what a closed fetch was for")
}
