package lookbehind_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"lookbehind"
)

// A cache, a film, who fetches its pieces, and a player who reads it and seeks back.
func Example() {
	cache, err := lookbehind.New(lookbehind.Options{Budget: 8 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	const length, pieceLen = 1_000_000, 1 << 16
	film, err := cache.Add(length, pieceLen, lookbehind.StorageOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer film.Close()

	// Pieces come whole, or in blocks of any order, from a swarm, a file, a server.
	half := make([]byte, pieceLen/2)
	film.Write(0, pieceLen/2, half)
	film.Write(0, 0, half)
	if err := film.Commit(0); err != nil {
		log.Fatal(err)
	}

	// A pin is bytes where they lie. It outlives the eviction of its piece.
	piece, err := film.Get(0, 100)
	if err != nil {
		log.Fatal(err)
	}
	film.Evict(0, 1)
	_, err = film.Get(0, 0)
	fmt.Println(len(piece.Bytes()), "bytes are pinned; missing:", errors.Is(err, lookbehind.ErrMissing))
	piece.Release()

	// Who fetches is offered what players need, the most urgent first, each piece once.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for {
			fetch, err := film.Next(ctx)
			if err != nil {
				return // the context ended, or the film was removed
			}
			if err := film.Insert(fetch.Piece(), make([]byte, fetch.Len())); err != nil {
				fetch.Fail(err.Error())
				continue
			}
			fetch.Close()
		}
	}()

	// A player is an io.ReadSeekCloser, for io.Copy or http.ServeContent.
	player, err := film.Open(lookbehind.PlayerOptions{AheadBytes: 4 * pieceLen})
	if err != nil {
		log.Fatal(err)
	}
	defer player.Close()
	read, err := io.Copy(io.Discard, player)
	fmt.Println(read, "bytes were read:", err)

	// What shall stay for a seek back, as far as there is room.
	film.SetLookbehind([]uint32{3, 4, 5})
	stats, err := film.LookbehindStats()
	fmt.Println(stats.Available, "of", stats.Named, "look-behind pieces are there:", err)
	player.Seek(3*pieceLen, io.SeekStart)
	piece, err = player.Next(ctx) // without a copy
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(piece.Bytes()), "bytes behind")
	piece.Release()

	// Output:
	// 65436 bytes are pinned; missing: true
	// 1000000 bytes were read: <nil>
	// 3 of 3 look-behind pieces are there: <nil>
	// 65536 bytes behind
}
