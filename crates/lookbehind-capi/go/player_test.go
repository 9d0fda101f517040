package lookbehind_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"lookbehind"
)

func TestAPlayerIsAReaderAndASeeker(t *testing.T) {
	film := newFilm(t)
	fetching(t, film)
	player := open(t, film, lookbehind.PlayerOptions{AheadBytes: 4 * pieceLen})
	ok(t, iotest.TestReader(player, content(0, totalLen)))
}

func TestAPlayerReadsWithoutACopy(t *testing.T) {
	film := newFilm(t)
	insertAll(t, film)
	player := open(t, film, lookbehind.PlayerOptions{Position: 3*pieceLen + 10})
	ok(t, player.Limit(4*pieceLen+20))
	for _, expected := range [][]byte{
		content(3*pieceLen+10, 4*pieceLen), content(4*pieceLen, 4*pieceLen+20),
	} {
		piece, err := player.Next(patience(t))
		ok(t, err)
		same(t, expected, piece.Bytes())
		piece.Release()
	}
	_, err := player.Next(patience(t))
	gives(t, io.EOF, err)
	ok(t, player.Limit(lookbehind.NoLimit))
	rest, err := io.ReadAll(player)
	ok(t, err)
	same(t, content(4*pieceLen+20, totalLen), rest)
}

func TestAReadOfAPlayerEndsInTimeAndGoesOn(t *testing.T) {
	film := newFilm(t)
	player := open(t, film, lookbehind.PlayerOptions{})
	buffer := make([]byte, 10)

	player.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := player.Read(buffer)
	gives(t, os.ErrDeadlineExceeded, err)
	player.SetReadDeadline(time.Time{})

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = player.ReadContext(ctx, buffer)
	gives(t, context.DeadlineExceeded, err)

	ended := make(chan error)
	ctx, cancel = context.WithCancel(context.Background())
	go func() {
		_, err := player.Next(ctx)
		ended <- err
	}()
	cancel()
	gives(t, context.Canceled, <-ended)

	insert(t, film, 0)
	count, err := player.Read(buffer)
	ok(t, err)
	same(t, content(0, count), buffer[:count])
}

func TestADeadlineEndsAReadThatWaitsAlready(t *testing.T) {
	film := newFilm(t)
	player := open(t, film, lookbehind.PlayerOptions{})
	ended := make(chan error)
	go func() {
		_, err := player.Read(make([]byte, 1))
		ended <- err
	}()
	waiting(t, film, 1)
	player.SetReadDeadline(time.Unix(0, 0))
	gives(t, os.ErrDeadlineExceeded, <-ended)
}

func TestAReadThatWaitsEndsWhenThePlayerIsClosed(t *testing.T) {
	film := newFilm(t)
	for i := 0; i < 20; i++ {
		player := open(t, film, lookbehind.PlayerOptions{})
		ended := make(chan error)
		go func() {
			_, err := player.Read(make([]byte, 1))
			ended <- err
		}()
		waiting(t, film, 1)
		ok(t, player.Close())
		gives(t, lookbehind.ErrDropped, <-ended)
	}
}

func TestAReadThatWaitsFollowsASeek(t *testing.T) {
	film := newFilm(t)
	insert(t, film, 9)
	player := open(t, film, lookbehind.PlayerOptions{})
	read := make(chan []byte)
	go func() {
		piece, err := player.Next(patience(t))
		if err != nil {
			t.Errorf("the read failed: %v", err)
			close(read)
			return
		}
		defer piece.Release()
		read <- append([]byte(nil), piece.Bytes()...)
	}()
	waiting(t, film, 1)
	_, err := player.Seek(9*pieceLen+7, io.SeekStart)
	ok(t, err)
	same(t, origin(9)[7:], <-read)
}

func TestAskingForTheLengthMovesNothing(t *testing.T) {
	film := newFilm(t)
	player := open(t, film, lookbehind.PlayerOptions{Position: 5, AheadBytes: 2 * pieceLen, BehindBytes: 1})
	fetch, err := film.Next(patience(t))
	ok(t, err)
	defer fetch.Close()

	end, err := player.Seek(0, io.SeekEnd)
	ok(t, err)
	check(t, end == totalLen, "the film ends at %d", end)
	position, err := player.Position()
	ok(t, err)
	check(t, position == totalLen, "the position is %d", position)
	start, err := player.Seek(5-totalLen, io.SeekCurrent)
	ok(t, err)
	check(t, start == 5 && !fetch.Cancelled(), "at %d the fetch goes on", start)
}

func TestASeekToNowhereLeavesThePlayerWhereItIs(t *testing.T) {
	player := open(t, newFilm(t), lookbehind.PlayerOptions{Position: 5})
	for _, whence := range []int{io.SeekStart, io.SeekCurrent, io.SeekEnd, 3} {
		_, err := player.Seek(-totalLen-1, whence)
		gives(t, lookbehind.ErrInvalidArgument, err)
	}
	_, err := player.Seek(1<<63-1, io.SeekCurrent)
	gives(t, lookbehind.ErrInvalidArgument, err)
	position, err := player.Position()
	ok(t, err)
	check(t, position == 5, "the position is %d", position)
	_, err = player.Seek(1<<63-1, io.SeekStart)
	ok(t, err)
	_, err = player.Read(make([]byte, 1))
	gives(t, io.EOF, err)
}

func TestAPlayerIsToldWhatItsViewerDoes(t *testing.T) {
	film := newFilm(t)
	player := open(t, film, lookbehind.PlayerOptions{Bitrate: 1 << 20, Ahead: time.Second})
	sound := open(t, film, lookbehind.PlayerOptions{SameViewerAs: player})
	ok(t, player.Pause())
	ok(t, player.SetBitrate(1<<21))
	ok(t, player.Resume())
	ok(t, player.Close())
	_, err := film.Open(lookbehind.PlayerOptions{SameViewerAs: player})
	gives(t, lookbehind.ErrInvalidHandle, err)
	ok(t, sound.Close())
}

func TestAFilmIsServedOverHTTP(t *testing.T) {
	film := newFilm(t)
	fetching(t, film)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		player, err := film.Open(lookbehind.PlayerOptions{})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer player.Close()
		http.ServeContent(w, r, "film.mp4", time.Time{}, player.WithContext(r.Context()))
	}))
	defer server.Close()
	for asked, expected := range map[string][]byte{
		"":                content(0, totalLen),
		"bytes=5000-9999": content(5000, 10000),
		"bytes=-10":       content(totalLen-10, totalLen),
	} {
		request, err := http.NewRequestWithContext(patience(t), http.MethodGet, server.URL, nil)
		ok(t, err)
		if asked != "" {
			request.Header.Set("Range", asked)
		}
		response, err := server.Client().Do(request)
		ok(t, err)
		body, err := io.ReadAll(response.Body)
		ok(t, err)
		ok(t, response.Body.Close())
		same(t, expected, body)
	}
}

func TestAViewerWhoLeavesEndsTheWait(t *testing.T) {
	film := newFilm(t) // nobody fetches
	left := make(chan error)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		player, err := film.Open(lookbehind.PlayerOptions{})
		if err == nil {
			defer player.Close()
			_, err = io.Copy(w, player.WithContext(r.Context()))
		}
		left <- err
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(patience(t))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	ok(t, err)
	go server.Client().Do(request)
	waiting(t, film, 1)
	cancel()
	gives(t, context.Canceled, <-left)
}
