// A disk_io without a session: calls as libtorrent makes them, on an io_context of the test's, and
// what their handlers were told.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <libtorrent/disk_observer.hpp>
#include <libtorrent/file_storage.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/performance_counters.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/settings_pack.hpp>
#include <libtorrent/storage_defs.hpp>
#include <libtorrent/torrent_handle.hpp>
#include <lookbehind/libtorrent.hpp>

namespace test {

/// What a handler was told, the last time.
struct answer {
    int times = 0;
    /// It was called within the call that it was given to, or outside of the io_context.
    bool misplaced = false;
    lt::storage_error error;
    /// How many handlers of the same workbench had been called before.
    int order = 0;

    /// Called, and without an error.
    bool well() const { return times == 1 && !error; }
    bool aborted() const;
};

struct reading : answer {
    lt::disk_buffer_holder buffer;
    std::string bytes() const { return { buffer.data(), std::size_t(buffer.size()) }; }
};

struct hashing : answer {
    lt::piece_index_t piece{ -1 };
    lt::sha1_hash v1;
    /// As the handler's own closure had them.
    std::vector<lt::sha256_hash> v2;
};

struct checking : answer {
    lt::status_t status{ };
};

/// Is told that it may go on.
struct peer : lt::disk_observer {
    int times = 0;
    void on_disk() override { ++times; }
};

/// The v1 layout of a film of one file.
lt::file_storage layout(std::int64_t size, int piece_length);

/// What `film_bytes` has from `offset` on.
std::string some_bytes(std::int64_t offset, int length, std::uint64_t seed = 1);

/// A torrent's hash, different for each text.
lt::info_hash_t hash_named(std::string const& text);

/// Where priorities are the test's, in either mode.
lookbehind::config as_told(lookbehind::mode mode, std::int64_t budget = 16 << 20);

/// How many addresses are pinned now, in the whole process.
std::size_t pins();

class workbench {
public:
    explicit workbench(lookbehind::config const& config);
    /// As finish(), and forgets what it says.
    virtual ~workbench();
    workbench(workbench const&) = delete;
    workbench& operator=(workbench const&) = delete;

    lt::io_context& context() { return *context_; }
    lookbehind::disk_io& disk() { return *disk_; }

    lt::storage_index_t add(lt::file_storage const& files, lt::sha1_hash const& hash,
        std::shared_ptr<void> const& torrent = nullptr);
    void remove(lt::storage_index_t index);

    std::shared_ptr<reading> read(lt::storage_index_t index, int piece, int start, int length);
    /// `stopped`, unless null, is what the call returned.
    std::shared_ptr<answer> write(lt::storage_index_t index, int piece, int start,
        std::string const& bytes, bool* stopped = nullptr,
        std::shared_ptr<lt::disk_observer> const& observer = nullptr);
    /// All blocks of a piece of the film of `some_bytes`, one after another.
    std::vector<std::shared_ptr<answer>> write_piece(lt::storage_index_t index,
        lt::file_storage const& files, int piece, std::uint64_t seed = 1);
    /// `blocks` hashes of a v2 torrent. `then`, unless empty, is called by the handler.
    std::shared_ptr<hashing> hash(lt::storage_index_t index, int piece,
        lt::disk_job_flags_t flags = lt::disk_interface::v1_hash, int blocks = 0,
        std::function<void()> then = { });
    std::shared_ptr<hashing> hash2(lt::storage_index_t index, int piece, int offset);
    std::shared_ptr<checking> check(
        lt::storage_index_t index, lt::add_torrent_params const* resume = nullptr);
    std::shared_ptr<answer> clear_piece(lt::storage_index_t index, int piece);
    std::shared_ptr<answer> stop(lt::storage_index_t index);
    std::shared_ptr<answer> release_files(lt::storage_index_t index);
    std::shared_ptr<answer> delete_files(lt::storage_index_t index);
    std::int64_t counter(int which) const;

    /// A handler to be given to a call that is made within `call`.
    template <typename Answer, typename Take>
    auto handler(std::shared_ptr<Answer> const& to, Take take)
    {
        given_.push_back(to);
        return [to, place = place_, take = std::move(take)](auto&&... told) mutable {
            place->heard(*to);
            take(std::forward<decltype(told)>(told)...);
        };
    }
    template <typename Call> auto call(Call make)
    {
        struct during {
            bool& flag;
            bool const before;
            ~during() { flag = before; }
        } const restored{ place_->calling, place_->calling };
        place_->calling = true;
        return make(*disk_);
    }

    /// Runs what is ready, and nothing that has to be waited for.
    void run_ready();
    /// Runs until `done`; false if it is not within ten seconds.
    bool run_until(std::function<bool()> const& done);
    /// Runs until nothing is left to run; false if there still is something after ten seconds.
    bool run_dry();
    /// Runs for some ticks of the disk's clock.
    void run_ticks();

    /// Ends the disk as a session does, torrents first. In words what was wrong at the end:
    /// handlers that were not called once, or in a wrong place, an io_context that does not come to
    /// rest.
    std::string finish();
    /// The same, but runs what is ready only when the disk has gone.
    std::string finish_late();
    /// Destroys the disk as it is.
    void destroy_disk() { disk_.reset(); }
    /// Destroys the io_context with all that is still to be run.
    void destroy_context() { context_.reset(); }
    /// Keeps no answer any more.
    void forget() { given_.clear(); }

private:
    std::string complaints();

    struct place {
        std::thread::id thread;
        bool running = false;
        bool calling = false;
        int heard_of = 0;
        void heard(answer& one);
    };
    struct running;

    std::shared_ptr<place> place_ = std::make_shared<place>();
    std::vector<std::shared_ptr<answer>> given_;
    std::unique_ptr<lt::io_context> context_ = std::make_unique<lt::io_context>();
    lt::settings_pack settings_;
    std::unique_ptr<lookbehind::disk_io> disk_;
    std::map<lt::storage_index_t, lt::storage_holder> torrents_;
};

/// A torrent in a session that keeps and fetches nothing, for a disk to ask which bytes are right.
class owner {
public:
    explicit owner(lt::add_torrent_params params);

    std::shared_ptr<void> torrent() const;
    lt::torrent_handle const& handle() const { return handle_; }

private:
    lt::session session_;
    lt::torrent_handle handle_;
};

} // namespace test
