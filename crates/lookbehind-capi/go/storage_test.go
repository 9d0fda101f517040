package lookbehind_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"io"
	"testing"

	"lookbehind"
)

func TestAPieceComesInBlocks(t *testing.T) {
	film := newFilm(t)
	bytes := origin(2)
	gives(t, lookbehind.ErrNotOpen, film.Commit(2))
	progress, err := film.Write(2, pieceLen/2, bytes[pieceLen/2:])
	ok(t, err)
	check(t, progress == lookbehind.Partial, "progress is %d", progress)
	gives(t, lookbehind.ErrIncomplete, film.Commit(2))

	back, err := film.ReadBack(2, pieceLen/2+1, 10)
	ok(t, err)
	same(t, bytes[pieceLen/2+1:][:10], back.Bytes())
	back.Release()
	_, err = film.ReadBack(2, 0, 1)
	gives(t, lookbehind.ErrMissing, err)
	_, err = film.ReadBack(2, pieceLen/2, 0)
	gives(t, lookbehind.ErrInvalidArgument, err)

	progress, err = film.Write(2, 0, bytes[:pieceLen/2])
	ok(t, err)
	check(t, progress == lookbehind.Complete, "progress is %d", progress)
	ok(t, film.Commit(2))
	progress, err = film.Write(2, 0, bytes[:1])
	ok(t, err)
	check(t, progress == lookbehind.Published, "progress is %d", progress)
	piece, err := film.Get(2, 5)
	ok(t, err)
	same(t, bytes[5:], piece.Bytes())
	piece.Release()
}

func TestWhatArrivedOfAPieceCanBeDropped(t *testing.T) {
	film := newFilm(t)
	_, err := film.Write(0, 0, []byte{1})
	ok(t, err)
	for _, expected := range []bool{true, false} {
		dropped, err := film.Abandon(0)
		ok(t, err)
		check(t, dropped == expected, "something was dropped: %t", dropped)
	}
}

func TestInputThatMakesNoSenseIsRefused(t *testing.T) {
	film := newFilm(t)
	gives(t, lookbehind.ErrWrongLength, film.Insert(0, nil))
	gives(t, lookbehind.ErrWrongLength, film.Insert(0, make([]byte, pieceLen+1)))
	gives(t, lookbehind.ErrPieceOutOfRange, film.Insert(pieces, origin(0)))
	_, err := film.Write(0, 1, origin(0))
	gives(t, lookbehind.ErrBlockOutOfRange, err)
	_, err = film.Write(0, 0, nil)
	ok(t, err)
	insert(t, film, 0)
	_, err = film.Get(0, pieceLen)
	gives(t, lookbehind.ErrBlockOutOfRange, err)
	_, err = film.Append(1)
	gives(t, lookbehind.ErrNotSegmented, err)

	cache := newCache(t)
	_, err = cache.Add(0, 1, lookbehind.StorageOptions{})
	gives(t, lookbehind.ErrZeroLength, err)
	_, err = cache.Add(1, 0, lookbehind.StorageOptions{})
	gives(t, lookbehind.ErrZeroPieceLength, err)
	_, err = cache.Add(1, 1, lookbehind.StorageOptions{SHA1: make([]byte, 19)})
	gives(t, lookbehind.ErrHashListLength, err)
	_, err = cache.Add(1, 1, lookbehind.StorageOptions{SHA1: make([]byte, 20), SHA256: make([]byte, 32)})
	gives(t, lookbehind.ErrInvalidArgument, err)
}

func TestPiecesAreJudgedByTheirHashes(t *testing.T) {
	var old, new []byte
	for piece := uint32(0); piece < pieces; piece++ {
		one, other := sha1.Sum(origin(piece)), sha256.Sum256(origin(piece))
		old, new = append(old, one[:]...), append(new, other[:]...)
	}
	for name, options := range map[string]lookbehind.StorageOptions{
		"sha1": {SHA1: old}, "sha256": {SHA256: new},
	} {
		t.Run(name, func(t *testing.T) {
			film := add(t, newCache(t), options)
			progress, err := film.Write(4, 0, origin(4))
			ok(t, err)
			check(t, progress == lookbehind.Published, "progress is %d", progress)
			gives(t, lookbehind.ErrVerifyFailed, film.Insert(5, origin(4)))
			_, err = film.Write(5, 0, origin(4))
			gives(t, lookbehind.ErrVerifyFailed, err)
			insert(t, film, 5)
		})
	}
}

func TestAStorageSaysWhatIsThere(t *testing.T) {
	film := newFilm(t)
	runs, err := film.Runs()
	ok(t, err)
	check(t, len(runs) == 0, "%v", runs)
	insert(t, film, 0, 1, 2, 7, pieces-1)
	runs, err = film.Runs()
	ok(t, err)
	check(t, len(runs) == 3 && runs[0] == lookbehind.Range{First: 0, End: 3}, "%v", runs)

	count, err := film.Evict(1, 8)
	ok(t, err)
	check(t, count == 3, "%d were evicted", count)
	there, err := film.Contains(7)
	ok(t, err)
	check(t, !there, "7 is gone")

	info, err := film.Info()
	ok(t, err)
	check(t, info.TotalLen == totalLen && info.EndPiece == pieces, "%+v", info)
	length, err := film.PieceLen(pieces - 1)
	ok(t, err)
	check(t, length == pieceLen-100, "the last piece is %d long", length)
	stats, err := film.Stats()
	ok(t, err)
	check(t, stats.PresentPieces == 2 && stats.Evictions == 3, "%+v", stats)
}

func TestMoreRunsThanOneCallAsksForAreFound(t *testing.T) {
	film, err := newCache(t).Add(1000, 1, lookbehind.StorageOptions{})
	ok(t, err)
	defer film.Close()
	for piece := uint32(0); piece < 1000; piece += 2 {
		ok(t, film.Insert(piece, []byte{1}))
	}
	runs, err := film.Runs()
	ok(t, err)
	check(t, len(runs) == 500 && runs[499] == lookbehind.Range{First: 998, End: 999}, "%d", len(runs))
}

func TestALiveFilmGrowsAndEnds(t *testing.T) {
	live, err := newCache(t).AddLive(lookbehind.StorageOptions{})
	ok(t, err)
	defer live.Close()
	player := open(t, live, lookbehind.PlayerOptions{})
	for expected := uint32(0); expected < 3; expected++ {
		piece, err := live.Append(10 + expected)
		ok(t, err)
		check(t, piece == expected, "segment %d", piece)
		ok(t, live.Insert(piece, make([]byte, 10+expected)))
	}
	ok(t, live.End())
	all, err := io.ReadAll(player)
	ok(t, err)
	check(t, len(all) == 33, "%d bytes", len(all))
	ok(t, live.DropBefore(2))
	info, err := live.Info()
	ok(t, err)
	check(t, info.FirstPiece == 2 && info.EndPiece == 3 && info.TotalLen == 33, "%+v", info)
}

func TestARemovedFilmIsGone(t *testing.T) {
	film := newFilm(t)
	ended := make(chan error)
	go func() {
		_, err := film.Read(patience(t), 1, 0)
		ended <- err
	}()
	waiting(t, film, 1)
	ok(t, film.Remove())
	gives(t, lookbehind.ErrRemoved, <-ended)
	gives(t, lookbehind.ErrUnknownStorage, film.Insert(0, origin(0)))
	_, err := film.Next(patience(t))
	gives(t, io.EOF, err)
}

func TestWhatWasNamedStaysForASeekBack(t *testing.T) {
	film := newFilm(t)
	insert(t, film, 3, 4)
	ok(t, film.Reserve(0, 2))
	ok(t, film.SetLookbehind([]uint32{3, 4, 5}))
	stats, err := film.LookbehindStats()
	ok(t, err)
	check(t, stats.Named == 3 && stats.Available == 2 && stats.Bytes >= 2*pieceLen, "%+v", stats)
	for piece, expected := range map[uint32]bool{3: true, 5: false} {
		available, err := film.LookbehindAvailable(piece)
		ok(t, err)
		check(t, available == expected, "%d is available: %t", piece, available)
	}
	ok(t, film.SetLookbehind(nil))
	ok(t, film.ClearLookbehind())
	ok(t, film.Unreserve())
	stats, err = film.LookbehindStats()
	ok(t, err)
	check(t, stats.Named == 0, "%+v", stats)
}
