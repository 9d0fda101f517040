// The interface as libtorrent has it.
#include <lookbehind/libtorrent.hpp>

#include <utility>

#include <libtorrent/settings_pack.hpp>

#include "core.hpp"

namespace lookbehind {

disk_io::disk_io(lt::io_context& context, lt::settings_interface const&, config const& config)
    : core_(std::make_shared<detail::core>(context, config))
{
    core_->open();
}

disk_io::~disk_io()
{
    core_->join();
    core_->close();
}

lt::storage_holder disk_io::new_torrent(
    lt::storage_params const& params, std::shared_ptr<void> const& torrent)
{
    return lt::storage_holder(core_->add(params, torrent), *this);
}

void disk_io::remove_torrent(lt::storage_index_t const index)
{
    core_->remove(index);
}

void disk_io::async_read(lt::storage_index_t const index, lt::peer_request const& request,
    std::function<void(lt::disk_buffer_holder, lt::storage_error const&)> handler,
    lt::disk_job_flags_t)
{
    core_->read(index, request, std::move(handler));
}

bool disk_io::async_write(lt::storage_index_t const index, lt::peer_request const& request,
    char const* const block, std::shared_ptr<lt::disk_observer> observer,
    std::function<void(lt::storage_error const&)> handler, lt::disk_job_flags_t)
{
    return core_->write(index, request, block, observer, std::move(handler));
}

void disk_io::async_hash(lt::storage_index_t const index, lt::piece_index_t const piece,
    lt::span<lt::sha256_hash> const v2, lt::disk_job_flags_t const flags,
    std::function<void(lt::piece_index_t, lt::sha1_hash const&, lt::storage_error const&)> handler)
{
    core_->hash(index, piece, v2, flags, std::move(handler));
}

void disk_io::async_hash2(lt::storage_index_t const index, lt::piece_index_t const piece,
    int const offset, lt::disk_job_flags_t,
    std::function<void(lt::piece_index_t, lt::sha256_hash const&, lt::storage_error const&)>
        handler)
{
    core_->hash2(index, piece, offset, std::move(handler));
}

// There are no files: to move, rename and release them is done at once.

void disk_io::async_move_storage(lt::storage_index_t, std::string path, lt::move_flags_t,
    std::function<void(lt::status_t, std::string const&, lt::storage_error const&)> handler)
{
    core_->post([path = std::move(path), handler = std::move(handler)] {
        handler(lt::status_t::no_error, path, lt::storage_error());
    });
}

void disk_io::async_release_files(lt::storage_index_t, std::function<void()> handler)
{
    if (handler) core_->post(std::move(handler));
}

void disk_io::async_check_files(lt::storage_index_t const index,
    lt::add_torrent_params const* const resume_data, lt::aux::vector<std::string, lt::file_index_t>,
    std::function<void(lt::status_t, lt::storage_error const&)> handler)
{
    core_->check(index, resume_data, std::move(handler));
}

// Also on pause: what is withheld stays so.
void disk_io::async_stop_torrent(lt::storage_index_t, std::function<void()> handler)
{
    if (handler) core_->post(std::move(handler));
}

void disk_io::async_rename_file(lt::storage_index_t, lt::file_index_t const file, std::string name,
    std::function<void(std::string const&, lt::file_index_t, lt::storage_error const&)> handler)
{
    core_->post([file, name = std::move(name), handler = std::move(handler)] {
        handler(name, file, lt::storage_error());
    });
}

void disk_io::async_delete_files(lt::storage_index_t const index, lt::remove_flags_t,
    std::function<void(lt::storage_error const&)> handler)
{
    core_->clear_all(index);
    core_->post([handler = std::move(handler)] { handler(lt::storage_error()); });
}

// An error here would pause the torrent.
void disk_io::async_set_file_priority(lt::storage_index_t,
    lt::aux::vector<lt::download_priority_t, lt::file_index_t> priorities,
    std::function<void(
        lt::storage_error const&, lt::aux::vector<lt::download_priority_t, lt::file_index_t>)>
        handler)
{
    core_->post([priorities = std::move(priorities), handler = std::move(handler)] {
        handler(lt::storage_error(), priorities);
    });
}

void disk_io::async_clear_piece(lt::storage_index_t const index, lt::piece_index_t const piece,
    std::function<void(lt::piece_index_t)> handler)
{
    core_->clear(index, piece);
    core_->post([piece, handler = std::move(handler)] { handler(piece); });
}

void disk_io::update_stats_counters(lt::counters& counters) const
{
    core_->count(counters);
}

std::vector<lt::open_file_state> disk_io::get_status(lt::storage_index_t) const
{
    return { };
}

void disk_io::abort(bool const wait)
{
    core_->abort();
    if (wait) core_->join();
}

// Jobs start when they come, and settings have no part in it.
void disk_io::submit_jobs() { }
void disk_io::settings_updated() { }

void disk_io::free_disk_buffer(char* const buffer)
{
    core_->free(buffer);
}

lt::disk_io_constructor_type disk_io_constructor(config const& config)
{
    return [config](lt::io_context& context, lt::settings_interface const& settings,
               lt::counters&) { return std::make_unique<disk_io>(context, settings, config); };
}

void set_disk_io(lt::session_params& params, config const& config)
{
    params.disk_io_constructor = disk_io_constructor(config);
    if (config.mode != mode::stream) return;
    params.settings.set_bool(lt::settings_pack::close_redundant_connections, false);
    params.settings.set_int(lt::settings_pack::initial_picker_threshold, 0);
    params.settings.set_bool(lt::settings_pack::disable_hash_checks, false);
}

namespace {

struct own_category final : boost::system::error_category {
    char const* name() const noexcept override { return "lookbehind"; }

    std::string message(int const code) const override
    {
        switch (errc(code)) {
        case errc::over_budget:
            return "the torrent does not fit into the cache's budget, in which all of it is to be "
                   "kept";
        case errc::refused: return "the cache did not take the torrent";
        }
        return "unknown error";
    }
};

} // namespace

boost::system::error_category const& category()
{
    static own_category const one;
    return one;
}

boost::system::error_code make_error_code(errc const code)
{
    return boost::system::error_code(int(code), category());
}

} // namespace lookbehind
