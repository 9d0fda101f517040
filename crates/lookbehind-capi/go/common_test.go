package lookbehind_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"lookbehind"
)

const (
	pieceLen = 4 << 10
	pieces   = 16
	// The last piece is shorter.
	totalLen = pieces*pieceLen - 100
)

// Whatever the tests have pinned is released when they are through.
func TestMain(m *testing.M) {
	code := m.Run()
	if pins, err := lookbehind.Pins(); code == 0 && (err != nil || pins != 0) {
		fmt.Fprintf(os.Stderr, "pins that nobody released: %d, %v\n", pins, err)
		code = 1
	}
	os.Exit(code)
}

// content is what a film holds, from a byte on, up to another one.
func content(from, to int) []byte {
	bytes := make([]byte, 0, to-from)
	for at := from; at < to; at++ {
		bytes = append(bytes, byte(at/pieceLen*31+at%251))
	}
	return bytes
}

// origin is a whole piece of a film.
func origin(piece uint32) []byte {
	from := int(piece) * pieceLen
	to := from + pieceLen
	if to > totalLen {
		to = totalLen
	}
	return content(from, to)
}

func newCache(t testing.TB) *lookbehind.Cache {
	t.Helper()
	cache, err := lookbehind.New(lookbehind.Options{Budget: 1 << 20})
	ok(t, err)
	t.Cleanup(func() { cache.Close() })
	return cache
}

// newFilm is an empty film in a cache of its own.
func newFilm(t testing.TB) *lookbehind.Storage {
	t.Helper()
	return add(t, newCache(t), lookbehind.StorageOptions{})
}

func add(t testing.TB, cache *lookbehind.Cache, options lookbehind.StorageOptions) *lookbehind.Storage {
	t.Helper()
	film, err := cache.Add(totalLen, pieceLen, options)
	ok(t, err)
	t.Cleanup(func() { film.Close() })
	return film
}

func insert(t testing.TB, film *lookbehind.Storage, wanted ...uint32) {
	t.Helper()
	for _, piece := range wanted {
		ok(t, film.Insert(piece, origin(piece)))
	}
}

func insertAll(t testing.TB, film *lookbehind.Storage) {
	t.Helper()
	for piece := uint32(0); piece < pieces; piece++ {
		insert(t, film, piece)
	}
}

func open(t testing.TB, film *lookbehind.Storage, options lookbehind.PlayerOptions) *lookbehind.Player {
	t.Helper()
	player, err := film.Open(options)
	ok(t, err)
	t.Cleanup(func() { player.Close() })
	return player
}

// patience is a context for what comes at once unless something is broken.
func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// waiting returns when that many reads of the film wait.
func waiting(t testing.TB, film *lookbehind.Storage, reads uint64) {
	t.Helper()
	eventually(t, "reads wait", func() bool {
		stats, err := film.Stats()
		ok(t, err)
		return stats.Waits == reads
	})
}

func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for ctx := patience(t); !happened(); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("it did not come about: %s", what)
		}
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("failed: %v", err)
	}
}

func gives(t testing.TB, expected, err error) {
	t.Helper()
	if !errors.Is(err, expected) {
		t.Fatalf("expected %v, got %v", expected, err)
	}
}

func check(t testing.TB, right bool, format string, args ...any) {
	t.Helper()
	if !right {
		t.Fatalf("not so: "+format, args...)
	}
}

func same(t testing.TB, expected, got []byte) {
	t.Helper()
	check(t, bytes.Equal(expected, got), "%d bytes are the expected %d", len(got), len(expected))
}
