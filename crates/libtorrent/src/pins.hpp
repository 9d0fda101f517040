// Buffers of libtorrent's that are pinned memory of the cache.
#pragma once

#include <atomic>
#include <cstdint>

#include <libtorrent/disk_buffer_holder.hpp>
#include <lookbehind.h>

namespace lookbehind::detail {

// Frees what was handed to libtorrent. It lives until its core is closed and the last buffer is
// back.
class pins final : public lt::buffer_allocator_interface {
public:
    lt::disk_buffer_holder hold(std::uint8_t const* data, int const size)
    {
        held_.fetch_add(1, std::memory_order_relaxed);
        // libtorrent never writes to what it has read.
        auto* const bytes = reinterpret_cast<char*>(const_cast<std::uint8_t*>(data));
        return lt::disk_buffer_holder(*this, bytes, size);
    }

    void free_disk_buffer(char* const buffer) override
    {
        lb_release(buffer);
        release();
    }

    void close() { release(); }

    int blocks() const { return held_.load(std::memory_order_relaxed) - 1; }

private:
    ~pins() = default;

    void release()
    {
        // Acquire and release: who deletes has seen all that others did here.
        if (held_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    std::atomic<int> held_{ 1 };
};

} // namespace lookbehind::detail
