package lookbehind

// #include <lookbehind.h>
import "C"

import (
	"context"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Piece is a pin: bytes of a piece where they lie, in the memory of the cache, without a copy. They stay
// there, as they are, until [Piece.Release], whatever becomes of the piece, its storage and its cache.
// Until then they count against the budget: release them soon.
type Piece struct {
	bytes    []byte
	released atomic.Bool
}

func newPiece(data *C.uint8_t, length C.size_t) *Piece {
	p := &Piece{bytes: unsafe.Slice((*byte)(unsafe.Pointer(data)), int(length))}
	runtime.SetFinalizer(p, (*Piece).Release)
	return p
}

// Bytes are the pinned bytes; nil after [Piece.Release].
//
// They are not Go's memory. Writing to them is seen by all readers, and never allowed. What was got here
// and is used after Release reads whatever lies there by then, another film perhaps, or ends the
// program by a fault that cannot be recovered from: neither Go nor the race detector can notice.
// Copy what must live longer.
func (p *Piece) Bytes() []byte {
	if p.released.Load() {
		return nil
	}
	return p.bytes
}

// Release lets the bytes go. Idempotent.
//
// A Piece that is never released is let go once the garbage collector finds that nobody can reach it any
// more, which may be never, and which its bytes do not prevent: who uses them must hold the Piece, as
// who calls, or defers, Release afterwards does.
func (p *Piece) Release() {
	if p.released.CompareAndSwap(false, true) {
		runtime.SetFinalizer(p, nil)
		C.lb_release(unsafe.Pointer(&p.bytes[0])) // it is pinned: nothing can fail
	}
}

// Pins says how many addresses are pinned now, in all caches: for finding leaks.
func Pins() (int, error) {
	var count C.size_t
	err := call(func() C.lb_status { return C.lb_pins(&count) })
	return int(count), err
}

// Get pins a piece that is there, from an offset to its end. [ErrMissing] if it is not there,
// [ErrBlockOutOfRange] unless the offset lies within it.
func (s *Storage) Get(piece, offset uint32) (*Piece, error) {
	return pin(func(data **C.uint8_t, length *C.size_t) error {
		return call(func() C.lb_status {
			return C.lb_get(s.handle, C.uint32_t(piece), C.uint32_t(offset), data, length)
		})
	})
}

// Read pins a piece from an offset to its end, and waits for it if it is not there: the piece becomes
// wanted, for as long as the context lasts. [ErrRemoved], [ErrAborted], [ErrFetchFailed] if it does not
// come.
func (s *Storage) Read(ctx context.Context, piece, offset uint32) (*Piece, error) {
	var read C.lb_read
	err := call(func() C.lb_status {
		return C.lb_read_start(s.handle, C.uint32_t(piece), C.uint32_t(offset), -1, &read)
	})
	if err != nil {
		return nil, err
	}
	found, err := pin(func(data **C.uint8_t, length *C.size_t) error {
		return await(ctx, func(ms C.int64_t) error {
			return call(func() C.lb_status { return C.lb_read_poll(read, ms, data, length) })
		})
	})
	if err != nil {
		C.lb_read_cancel(read) // unless its own end was what came
	}
	return found, err
}

// ReadBack pins bytes of a piece that have been written, whether it is published or still arriving,
// judged or not: for engines that must read back what they wrote.
//
// [ErrMissing] unless all of them are written, [ErrBlockOutOfRange] beyond the end of the piece,
// [ErrInvalidArgument] for no bytes.
func (s *Storage) ReadBack(piece, offset, length uint32) (*Piece, error) {
	return pin(func(data **C.uint8_t, pinned *C.size_t) error {
		*pinned = C.size_t(length)
		return call(func() C.lb_status {
			return C.lb_read_back(s.handle, C.uint32_t(piece), C.uint32_t(offset), C.uint32_t(length), data)
		})
	})
}

func pin(get func(data **C.uint8_t, length *C.size_t) error) (*Piece, error) {
	var data *C.uint8_t
	var length C.size_t
	if err := get(&data, &length); err != nil {
		return nil, err
	}
	return newPiece(data, length), nil
}
