package lookbehind

// #include <stdlib.h>
// #include <lookbehind.h>
import "C"

import (
	"context"
	"io"
	"unsafe"
)

// Fetch is a piece that was taken on to be fetched: nobody else is offered it until it is closed.
type Fetch struct {
	handle C.lb_fetch
	piece  uint32
	length uint32
}

// Next takes on the most urgent piece that is missing, that a read or a player needs, and that nobody
// else fetches; it waits for one. The piece is to be written, or inserted, and then the Fetch to be
// closed. [io.EOF] when the storage was removed or the cache aborted.
//
// Several goroutines may call it, to fetch as many pieces at once.
func (s *Storage) Next(ctx context.Context) (*Fetch, error) {
	var handle C.lb_fetch
	var piece, length C.uint32_t
	err := await(ctx, func(ms C.int64_t) error {
		return call(func() C.lb_status {
			return C.lb_wanted_next(s.handle, ms, &handle, &piece, &length)
		})
	})
	switch {
	case err == end:
		return nil, io.EOF
	case err != nil:
		return nil, err
	}
	return &Fetch{handle, uint32(piece), uint32(length)}, nil
}

// Piece is the number of the piece.
func (f *Fetch) Piece() uint32 {
	return f.piece
}

// Len is the length of the piece in bytes.
func (f *Fetch) Len() uint32 {
	return f.length
}

// Cancelled says whether nobody needs the piece any more: the player went elsewhere or was closed, the
// read was cancelled, the storage removed, the cache aborted, or the Fetch closed.
func (f *Fetch) Cancelled() bool {
	var cancelled C.bool
	err := call(func() C.lb_status { return C.lb_fetch_cancelled(f.handle, &cancelled) })
	return err != nil || bool(cancelled)
}

// Fail says that the piece cannot be had, and closes the Fetch: reads that wait for it end with
// [ErrFetchFailed] and this reason, up to a zero byte if it has one.
func (f *Fetch) Fail(reason string) error {
	words := C.CString(reason)
	defer C.free(unsafe.Pointer(words))
	return call(func() C.lb_status { return C.lb_fetch_fail(f.handle, words) })
}

// Close closes the Fetch. Unless the piece has arrived, it is offered again if it is still wanted.
func (f *Fetch) Close() error {
	return call(func() C.lb_status { return C.lb_fetch_close(f.handle) })
}
