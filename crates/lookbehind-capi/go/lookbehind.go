// Package lookbehind is a piece cache in RAM for streaming media.
//
// Pieces of films arrive from anywhere, whole or in blocks, are verified, published, read by many
// goroutines at once, kept while a player is likely to want them, and evicted, under one budget of
// memory. A [Cache] has storages, one for each film; a [Storage] has pieces, with numbers from 0. The
// example below is a tour.
//
// The package calls the C library lookbehind, which pkg-config must find. Every function and
// method may be called from any goroutine, unless it says otherwise.
//
// # Handles
//
// A [Cache], a [Storage], a [Player] and a [Fetch] are handles, to be closed by who got them. Closing
// one ends this handle only; when the last one of a cache, of its storages and of its players is
// closed, the cache is aborted. A handle that was closed is refused with [ErrInvalidHandle], and so
// is the zero value.
//
// # Pins
//
// A [Piece] is bytes of a piece where they lie, in memory that Go does not manage. It is to be
// released, and its bytes are not to be written, and not to be used afterwards. See there.
//
// # Waiting
//
// Methods that take a context wait until there is a result, or the context ends; one that has ended
// before leaves nothing to wait for, and gives its error. A wait holds a thread of the system for as
// long as it lasts, as any call into C does, and a Go program has 10,000 of them at most, unless
// [runtime/debug.SetMaxThreads] says otherwise. It is made in slices of 100 ms, which bound how late an
// end of the context, a deadline, or a close is noticed. What is waited for is had at once.
package lookbehind

/*
#cgo pkg-config: lookbehind
#include <lookbehind.h>
*/
import "C"

import (
	"context"
	"runtime"
	"time"
)

// Version is the version of the library, as "0.1.0".
func Version() string {
	return C.GoString(C.lb_version())
}

// call makes a call of the library, and gives its failure with the words for it. Those are kept for
// the thread, which the goroutine must not leave between the call and the question.
func call(f func() C.lb_status) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch status := Status(f()); status {
	case C.LB_OK:
		return nil
	case pending, end:
		return status // they have no words
	default:
		return &Error{Status: status, Message: lastError()}
	}
}

func lastError() string {
	buffer := make([]C.char, 256)
	for {
		size := C.size_t(len(buffer))
		if length := C.lb_last_error(&buffer[0], size); length >= size {
			buffer = make([]C.char, length+1)
			continue
		}
		return C.GoString(&buffer[0])
	}
}

// The longest that a call stays within C while it waits.
const slice = 100 * time.Millisecond

// await makes a call that waits for as many milliseconds as it is told, until it says anything but
// pending. At first it does not wait at all.
func await(ctx context.Context, f func(ms C.int64_t) error) error {
	for wait := time.Duration(0); ; wait = slice {
		if err := ctx.Err(); err != nil {
			return err
		}
		if deadline, limited := ctx.Deadline(); limited && wait > 0 {
			left := time.Until(deadline)
			if left <= 0 {
				return context.DeadlineExceeded
			}
			if left < wait {
				wait = left
			}
		}
		if err := f(C.int64_t(millis(wait))); err != pending {
			return err
		}
	}
}

// millis rounds up, because to the library 0 often means a default; so it does for negative times.
func millis(d time.Duration) C.uint64_t {
	if d <= 0 {
		return 0
	}
	ms := d / time.Millisecond
	if d%time.Millisecond > 0 {
		ms++
	}
	return C.uint64_t(ms)
}
