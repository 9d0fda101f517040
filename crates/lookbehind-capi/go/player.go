package lookbehind

// #include <lookbehind.h>
import "C"

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// NoLimit is the limit of a player that has none.
const NoLimit uint64 = math.MaxUint64

// PlayerOptions say how a player reads. The zero value is a player with the defaults. Times count in
// whole milliseconds.
type PlayerOptions struct {
	// The byte of the film at which it starts.
	Position uint64
	// Bytes a second, by which windows in time are measured; 0 if unknown.
	Bitrate uint64
	// How far ahead of the playhead pieces are wanted, as far as they fit whole, and should stay, in
	// bytes; 0 for Ahead. The piece that a read waits for is wanted anyway.
	AheadBytes uint64
	// The same in time; 0 for a minute.
	Ahead time.Duration
	// How far behind it pieces should stay, in bytes; 0 for Behind. What must stay whatever viewers do is
	// named by [Storage.SetLookbehind].
	BehindBytes uint64
	// The same in time; 0 for a minute.
	Behind time.Duration
	// How long the windows stay after the player is closed.
	Linger time.Duration
	// Another player of the same viewer, with whom it shares one part of the room; nil for none.
	SameViewerAs *Player
}

// Player is a playhead that reads a film from a position on, and says by that which pieces are wanted
// next and which should stay. It is an [io.ReadSeekCloser]. Several goroutines may use it: a read that
// waits on one follows a seek on another, and ends with [ErrDropped] when the player is closed.
type Player struct {
	handle  C.lb_player
	storage *Storage // its own handle, for the film's length
	// The end of reads that wait, or nil.
	deadline atomic.Pointer[time.Time]

	// Held while the playhead is looked at or moved, never while a read waits.
	seat sync.Mutex
	// Where Seek has asked for, but no read has gone yet; nil if that is where the playhead is.
	sought *uint64
}

var _ io.ReadSeekCloser = (*Player)(nil)

// Open opens a player.
func (s *Storage) Open(options PlayerOptions) (*Player, error) {
	asked := C.lb_player_options{
		position:     C.uint64_t(options.Position),
		bitrate:      C.uint64_t(options.Bitrate),
		ahead_bytes:  C.uint64_t(options.AheadBytes),
		ahead_ms:     millis(options.Ahead),
		behind_bytes: C.uint64_t(options.BehindBytes),
		behind_ms:    millis(options.Behind),
		linger_ms:    millis(options.Linger),
	}
	if options.SameViewerAs != nil {
		asked.same_viewer_as = options.SameViewerAs.handle
	}
	storage, err := s.again()
	if err != nil {
		return nil, err
	}
	player := &Player{storage: storage}
	err = call(func() C.lb_status { return C.lb_player_open(s.handle, &asked, &player.handle) })
	if err != nil {
		storage.Close()
		return nil, err
	}
	return player, nil
}

// again gives another handle on the same storage.
func (s *Storage) again() (*Storage, error) {
	id, err := s.ID()
	if err != nil {
		return nil, err
	}
	cache, err := s.Cache()
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	return cache.Find(id)
}

// Close closes the player, and ends what reads of it wait on other goroutines.
func (p *Player) Close() error {
	if err := call(func() C.lb_status { return C.lb_player_close(p.handle) }); err != nil {
		return err
	}
	return p.storage.Close()
}

// Read is [Player.ReadContext] without a context.
func (p *Player) Read(buffer []byte) (int, error) {
	return p.ReadContext(context.Background(), buffer)
}

// ReadContext reads at the playhead and moves it on, and waits until something is there: as much as is,
// at least one byte, and at most to the end of a piece.
//
// [io.EOF] at the end of the film or at the limit, the error of the context, [os.ErrDeadlineExceeded],
// [ErrDropped] if the player was closed meanwhile; [ErrRemoved] or [ErrUnknownStorage], [ErrAborted],
// [ErrFetchFailed]. It can go on after those of time.
func (p *Player) ReadContext(ctx context.Context, buffer []byte) (int, error) {
	var count C.size_t
	err := p.await(ctx, func(ms C.int64_t) C.lb_status {
		return C.lb_player_read(p.handle, first(buffer), C.size_t(len(buffer)), ms, &count)
	})
	return int(count), err
}

// Next reads at the playhead without a copy: it pins the rest of the piece that the playhead is in, up to
// the limit, and moves on behind it. Otherwise as [Player.ReadContext].
func (p *Player) Next(ctx context.Context) (*Piece, error) {
	return pin(func(data **C.uint8_t, length *C.size_t) error {
		return p.await(ctx, func(ms C.int64_t) C.lb_status {
			return C.lb_player_next(p.handle, ms, data, length)
		})
	})
}

// await makes a read of the player that waits, from where the last seek went.
func (p *Player) await(ctx context.Context, read func(ms C.int64_t) C.lb_status) error {
	waited := false
	err := await(ctx, func(ms C.int64_t) error {
		waited = ms > 0
		if deadline := p.deadline.Load(); deadline != nil {
			left := time.Until(*deadline)
			if left <= 0 {
				return os.ErrDeadlineExceeded
			}
			if most := C.int64_t(millis(left)); most < ms {
				ms = most
			}
		}
		if err := p.move(); err != nil {
			return err
		}
		return call(func() C.lb_status { return read(ms) })
	})
	switch {
	case err == end:
		return io.EOF
	case waited && errors.Is(err, ErrInvalidHandle):
		// Closed between two slices of the wait, of which there are none to the caller.
		return &Error{Status: ErrDropped, Message: "the player was closed"}
	}
	return err
}

// SetReadDeadline has reads that wait, now or later, end with [os.ErrDeadlineExceeded] at that time; the
// zero time is for no deadline.
func (p *Player) SetReadDeadline(t time.Time) {
	if t.IsZero() {
		p.deadline.Store(nil)
	} else {
		p.deadline.Store(&t)
	}
}

// WithContext gives the player as a reader whose reads end with a context: for
// [net/http.ServeContent] and the like, which do not take one.
func (p *Player) WithContext(ctx context.Context) io.ReadSeeker {
	return &during{p, ctx}
}

type during struct {
	*Player
	ctx context.Context
}

func (d *during) Read(buffer []byte) (int, error) {
	return d.ReadContext(d.ctx, buffer)
}

// Seek moves the playhead as [io.Seeker] says; past the end it finds [io.EOF]. The end of a live film is
// that of now.
//
// The playhead goes there with the next read, or the next slice of one that waits. So a program that asks
// for the length by a seek to the end and back moves nothing: nothing is wanted at the end, and no fetch
// is cancelled.
func (p *Player) Seek(offset int64, whence int) (int64, error) {
	p.seat.Lock()
	defer p.seat.Unlock()
	at, err := p.playhead()
	if err != nil {
		return 0, err
	}
	var base uint64
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		base = at
		if p.sought != nil {
			base = *p.sought
		}
	case io.SeekEnd:
		info, err := p.storage.Info()
		if err != nil {
			return 0, err
		}
		base = info.TotalLen
	default:
		return 0, &Error{Status: ErrInvalidArgument, Message: "no such whence of a seek"}
	}
	// Films are far shorter than what an int64 counts; a sum that is not wraps around to below 0.
	target := int64(base) + offset
	if target < 0 {
		return 0, &Error{Status: ErrInvalidArgument, Message: "a seek to before the start"}
	}
	if position := uint64(target); position == at {
		p.sought = nil
	} else {
		p.sought = &position
	}
	return target, nil
}

// move brings the playhead to where Seek has asked for.
func (p *Player) move() error {
	p.seat.Lock()
	defer p.seat.Unlock()
	if p.sought == nil {
		return nil
	}
	target := C.uint64_t(*p.sought)
	if err := call(func() C.lb_status { return C.lb_player_seek(p.handle, target) }); err != nil {
		return err
	}
	p.sought = nil
	return nil
}

// playhead is where the library has the playhead.
func (p *Player) playhead() (uint64, error) {
	var position C.uint64_t
	err := call(func() C.lb_status { return C.lb_player_position(p.handle, &position) })
	return uint64(position), err
}

// Position is the byte of the film that is read next.
func (p *Player) Position() (uint64, error) {
	p.seat.Lock()
	defer p.seat.Unlock()
	at, err := p.playhead()
	if err == nil && p.sought != nil {
		at = *p.sought
	}
	return at, err
}

// Limit has reads end at that byte of the film; nothing beyond it is wanted. [NoLimit] for none.
func (p *Player) Limit(end uint64) error {
	return call(func() C.lb_status { return C.lb_player_limit(p.handle, C.uint64_t(end)) })
}

// Pause says that the viewer has paused: what lies ahead may go before what others need sooner.
func (p *Player) Pause() error {
	return call(func() C.lb_status { return C.lb_player_pause(p.handle) })
}

// Resume says that the viewer plays on.
func (p *Player) Resume() error {
	return call(func() C.lb_status { return C.lb_player_resume(p.handle) })
}

// SetBitrate sets the bitrate in bytes a second; 0 if it is unknown.
func (p *Player) SetBitrate(bitrate uint64) error {
	return call(func() C.lb_status { return C.lb_player_set_bitrate(p.handle, C.uint64_t(bitrate)) })
}
