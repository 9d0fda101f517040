package lookbehind

// #include <lookbehind.h>
import "C"

// Reserve prefers the pieces from first up to, without, end when room is needed, as the head and tail of
// a film with which every player begins. A preference, not a promise. Adds to what was reserved before.
func (s *Storage) Reserve(first, end uint32) error {
	return call(func() C.lb_status {
		return C.lb_reserve(s.handle, C.uint32_t(first), C.uint32_t(end))
	})
}

// Unreserve takes back all reservations of the storage.
func (s *Storage) Unreserve() error {
	return call(func() C.lb_status { return C.lb_unreserve(s.handle) })
}

// SetLookbehind prefers these pieces as if they lay behind a playhead, in place of those named before.
func (s *Storage) SetLookbehind(pieces []uint32) error {
	named := make([]C.uint32_t, len(pieces)+1) // one more, so that there is a first
	for i, piece := range pieces {
		named[i] = C.uint32_t(piece)
	}
	return call(func() C.lb_status {
		return C.lb_lookbehind_set(s.handle, &named[0], C.size_t(len(pieces)))
	})
}

// ClearLookbehind names no look-behind any more.
func (s *Storage) ClearLookbehind() error {
	return call(func() C.lb_status { return C.lb_lookbehind_clear(s.handle) })
}

// LookbehindAvailable says whether a seek back to that piece finds it.
func (s *Storage) LookbehindAvailable(piece uint32) (bool, error) {
	var available C.bool
	err := call(func() C.lb_status {
		return C.lb_lookbehind_available(s.handle, C.uint32_t(piece), &available)
	})
	return bool(available), err
}

// LookbehindStats say how much of the look-behind that was named is there.
type LookbehindStats struct {
	// Pieces that were named and are there.
	Available uint32
	// Pieces that were named.
	Named uint32
	// Bytes of memory that the available ones take.
	Bytes uint64
}

// LookbehindStats says how much of the look-behind that was named is there.
func (s *Storage) LookbehindStats() (LookbehindStats, error) {
	var stats C.lb_lookbehind_statistics
	err := call(func() C.lb_status { return C.lb_lookbehind_stats(s.handle, &stats) })
	if err != nil {
		return LookbehindStats{}, err
	}
	return LookbehindStats{
		Available: uint32(stats.available),
		Named:     uint32(stats.named),
		Bytes:     uint64(stats.bytes),
	}, nil
}
