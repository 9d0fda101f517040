// Torrents come, are checked, and go.
#include "bench.hpp"

using namespace contract;

// Torrents

TEST_CASE("the index of a removed torrent is used again, for nothing of the old one")
{
    bench on;
    auto const old = on.write_piece(on.film, on.files, 0);
    auto const old_hash = on.hash(on.film, 0);
    auto const old_read = on.read(on.film, 0, 0, block);
    on.remove(on.film);
    CHECK(on.none_came(old));
    auto const again = on.add(on.files, test::hash_named("another").v1);
    CHECK(again == on.film);
    auto const missing = on.read(again, 0, 0, block);
    auto const mine = on.write_piece(again, on.files, 0, 2);
    auto const there = on.read(again, 0, 0, block);
    CHECK(on.run_until([&] { return old_hash->times > 0; }));
    on.run_ready();
    CHECK(on.all_aborted(old));
    CHECK(old_hash->aborted());
    CHECK(old_read->bytes() == some_bytes(0, block));
    CHECK(missing->error);
    CHECK(there->bytes() == some_bytes(0, block, 2));
    CHECK(on.none_came(mine));
}

TEST_CASE("a torrent has nothing of what the same torrent had before")
{
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(how);
        on.write_piece(on.film, on.files, 0);
        on.run_ready();
        on.remove(on.film);
        auto const again = on.add(on.files, test::hash_named("film").v1);
        auto const read = on.read(again, 0, 0, block);
        on.run_ready();
        CHECK(read->error);
    }
}

TEST_CASE("stopping a torrent leaves what is withheld as it is, and removing it ends that")
{
    bench on;
    auto const writes = on.write_piece(on.film, on.files, 0);
    auto const hash = on.hash(on.film, 0);
    CHECK(on.run_until([&] { return on.counter(lt::counters::queued_disk_jobs) == 0; }));
    auto const stopped = on.stop(on.film);
    on.run_ready();
    CHECK(stopped->well());
    CHECK(on.none_came(writes));
    CHECK(hash->times == 0);
    on.remove(on.film);
    CHECK(on.none_came(writes));
    on.run_ready();
    CHECK(on.all_aborted(writes));
    CHECK(hash->aborted());
    CHECK(hash->order < writes[0]->order); // as libtorrent can bear it
}

TEST_CASE("there are no files: moving, renaming, releasing and deleting them is done at once")
{
    bench on;
    on.write_piece(on.film, on.files, 0);
    for (auto const index : { on.film, no_such_index }) {
        auto const moved = std::make_shared<test::answer>();
        auto move = on.handler(moved,
            [moved](lt::status_t const status, std::string const& path,
                lt::storage_error const& error) {
                if (status != lt::status_t::no_error || path != "elsewhere")
                    moved->misplaced = true;
                moved->error = error;
            });
        on.call([&](auto& disk) {
            disk.async_move_storage(
                index, "elsewhere", lt::move_flags_t::fail_if_exist, std::move(move));
        });
        auto const renamed = std::make_shared<test::answer>();
        auto rename = on.handler(renamed,
            [renamed](
                std::string const& name, lt::file_index_t file, lt::storage_error const& error) {
                if (name != "other" || file != lt::file_index_t(3)) renamed->misplaced = true;
                renamed->error = error;
            });
        on.call([&](auto& disk) {
            disk.async_rename_file(index, lt::file_index_t(3), "other", std::move(rename));
        });
        auto const released = on.release_files(index);
        on.call([&](auto& disk) {
            disk.async_release_files(index, { });
            disk.async_stop_torrent(index, { });
            disk.submit_jobs();
            disk.settings_updated();
        });
        on.run_ready();
        CHECK(moved->well());
        CHECK(renamed->well());
        CHECK(released->well());
        CHECK(on.disk().get_status(index).empty());
    }
    auto const there = on.read(on.film, 0, 0, block);
    auto const deleted = on.delete_files(on.film);
    auto const gone = on.read(on.film, 0, 0, block);
    auto const nothing = on.delete_files(no_such_index);
    on.run_ready();
    CHECK(there->well());
    CHECK(deleted->well());
    CHECK(gone->error);
    CHECK(nothing->well());
}

TEST_CASE("file priorities are taken as they are: an error would pause the torrent")
{
    bench on;
    lt::aux::vector<lt::download_priority_t, lt::file_index_t> wanted;
    wanted.push_back(lt::top_priority);
    wanted.push_back(lt::dont_download);
    for (auto const index : { on.film, no_such_index }) {
        for (auto const& priorities : { wanted, { } }) {
            auto const set = std::make_shared<test::answer>();
            auto heard = on.handler(
                set, [set, priorities](lt::storage_error const& error, auto const& as) {
                    set->error = error;
                    if (!(as == priorities)) set->misplaced = true;
                });
            on.call([&](auto& disk) {
                disk.async_set_file_priority(index, priorities, std::move(heard));
            });
            on.run_ready();
            CHECK(set->well());
        }
    }
}

// Checks

TEST_CASE("a torrent without resume data is new, and one that had pieces is looked through")
{
    lt::add_torrent_params none;
    lt::add_torrent_params had;
    had.have_pieces.resize(last + 1, true);
    lt::add_torrent_params begun;
    begun.unfinished_pieces[lt::piece_index_t(3)].resize(4, true);
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(how);
        auto const fresh = on.check(on.film);
        auto const empty = on.check(on.film, &none);
        auto const full = on.check(on.film, &had);
        auto const part = on.check(on.film, &begun);
        on.run_ready();
        CHECK(fresh->status == lt::status_t::no_error);
        CHECK(empty->status == lt::status_t::no_error);
        CHECK(full->status == lt::status_t::need_full_check);
        CHECK(part->status == lt::status_t::need_full_check);
        for (auto const& one : { fresh, empty, full, part }) CHECK(one->well());
    }
}

TEST_CASE("a check finds a piece that is missing not wrong, and one that nobody checks aborted")
{
    auto const check = disk_interface::sequential_access | disk_interface::volatile_read
        | disk_interface::v1_hash;
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(how);
        on.write(on.film, 1, 0, some_bytes(0, block)); // not all of it
        std::shared_ptr<test::hashing> const missing = on.hash(on.film, 0, check, 4);
        std::shared_ptr<test::hashing> const plain = on.hash(on.film, 0);
        CHECK(on.run_until([&] { return missing->times && plain->times; }));
        CHECK(missing->well());
        CHECK(missing->piece == lt::piece_index_t(0));
        CHECK(missing->v1.is_all_zeros());
        CHECK(plain->aborted());
    }
}

TEST_CASE("a check in mode keep finds what is there, also what is not published")
{
    bench on(mode::keep);
    on.write_piece(on.film, on.files, last);
    auto const found
        = on.hash(on.film, last, disk_interface::sequential_access | disk_interface::v1_hash);
    CHECK(on.run_until([&] { return found->times > 0; }));
    CHECK(found->well());
    CHECK(found->v1 == hash_of(some_bytes(std::int64_t(last) * piece_length, last_length)));
}

TEST_CASE("a check in mode keep leaves nothing of a piece that is not whole")
{
    bench on(mode::keep);
    auto const wrong = on.write(on.film, last, 0, some_bytes(0, block, 2));
    auto const found
        = on.hash(on.film, last, disk_interface::sequential_access | disk_interface::v1_hash);
    CHECK(on.run_until([&] { return found->times > 0; }));
    CHECK(wrong->well());
    CHECK(found->well());
    CHECK(found->v1.is_all_zeros());
    // To libtorrent nothing of it is there: who sends it now must not answer for what was.
    on.write_piece(on.film, on.files, last);
    auto const whole = on.hash(on.film, last);
    CHECK(on.run_until([&] { return whole->times > 0; }));
    CHECK(whole->v1 == hash_of(some_bytes(std::int64_t(last) * piece_length, last_length)));
}

TEST_CASE("a check in mode keep starts anew if no piece is whole")
{
    bench on(test::as_told(mode::keep));
    on.write(on.film, 0, 0, std::string(block, 'x'));
    auto const checked = on.check(on.film);
    on.run_ready();
    CHECK(checked->status == lt::status_t::no_error);
    // Whoever sends all of it now does not answer for what others sent.
    on.write_piece(on.film, on.files, 0);
    auto const hash = on.hash(on.film, 0);
    CHECK(on.run_until([&] { return hash->times > 0; }));
    CHECK(hash->v1 == hash_of(some_bytes(0, piece_length)));
}

TEST_CASE("a check in mode stream starts anew")
{
    bench on;
    auto const writes = on.write_piece(on.film, on.files, 0);
    auto const checked = on.check(on.film);
    on.run_ready();
    CHECK(checked->well());
    CHECK(on.all_aborted(writes));
    auto const found = on.hash(on.film, 0, disk_interface::sequential_access);
    auto const read = on.read(on.film, 0, 0, block);
    on.run_ready();
    CHECK(found->well());
    CHECK(found->v1.is_all_zeros());
    CHECK(read->error);
}

TEST_CASE("a check on demand looks at every piece, though one is as if always arriving")
{
    auto config = test::as_told(mode::stream);
    config.on_demand = true;
    bench on(config);
    lt::add_torrent_params had;
    had.have_pieces.resize(last + 1, true);
    auto const checked = on.check(on.film, &had);
    on.run_ready();
    CHECK(checked->status == lt::status_t::need_full_check);
    for (int piece = 0; piece <= last; ++piece) {
        CAPTURE(piece);
        auto const found = on.hash(on.film, piece, disk_interface::sequential_access);
        CHECK(on.run_until([&] { return found->times > 0; }));
        CHECK(found->well());
        CHECK(found->v1.is_all_zeros());
    }
}

TEST_CASE("a torrent that is not known, or was refused, does not pass its check")
{
    bench on(test::as_told(mode::keep, 3 * MiB));
    auto const unknown = on.check(no_such_index);
    auto const small = on.check(on.film);
    auto const large_index = on.add(on.files, test::hash_named("a second that does not fit").v1);
    auto const large = on.check(large_index);
    auto const written = on.write(large_index, 0, 0, some_bytes(0, block));
    auto const read = on.read(large_index, 0, 0, block);
    auto const hash = on.hash(large_index, 0);
    on.clear_piece(large_index, 0);
    on.run_ready();
    CHECK(unknown->status == lt::status_t::fatal_disk_error);
    CHECK(unknown->error.ec == make_error_code(lookbehind::errc::refused));
    CHECK(small->status == lt::status_t::no_error);
    CHECK(large->status == lt::status_t::fatal_disk_error);
    CHECK(large->error.ec == make_error_code(lookbehind::errc::over_budget));
    CHECK(large->error.ec.message().find("budget") != std::string::npos);
    CHECK(written->aborted());
    CHECK(read->error);
    CHECK(hash->aborted());
    CHECK(lookbehind::storage(test::hash_named("a second that does not fit")) == 0);

    // There is room when the first has gone.
    on.remove(on.film);
    auto const fits = on.check(on.add(on.files, test::hash_named("a third").v1));
    on.run_ready();
    CHECK(fits->status == lt::status_t::no_error);
}

TEST_CASE("a torrent whose pieces are more than half of the budget is refused")
{
    bench on(test::as_told(mode::stream, 1 * MiB));
    auto const index = on.add(test::layout(8 * MiB, int(MiB)), test::hash_named("large pieces").v1);
    auto const checked = on.check(index);
    on.run_ready();
    CHECK(checked->status == lt::status_t::fatal_disk_error);
    CHECK(checked->error.ec == make_error_code(lookbehind::errc::refused));
}
