// The rig itself, with libtorrent's own disk: what it calls right is right, what it reports as
// wrong is wrong.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include <libtorrent/mmap_disk_io.hpp>

#include "support/swarm.hpp"

namespace {

using namespace std::chrono_literals;
using test::kind;

int failures = 0;

void check(bool holds, char const* what, int line)
{
    if (holds) return;
    std::fprintf(stderr, "  line %d: not so: %s\n", line, what);
    ++failures;
}
#define CHECK(condition) check(condition, #condition, __LINE__)

void run(std::string const& name, std::function<void()> const& body)
{
    auto const start = test::clock::now();
    int const before = failures;
    test::watchdog const guard(name, 60s);
    try {
        body();
    } catch (std::exception const& e) {
        std::fprintf(stderr, "  %s\n", e.what());
        ++failures;
    }
    std::printf("%s %s (%.2f s)\n", failures == before ? "ok    " : "FAILED", name.c_str(),
        std::chrono::duration<double>(test::clock::now() - start).count());
}

constexpr std::int64_t size = (5 << 20) + 12345;
constexpr int piece = 64 << 10;

void any_range_of_a_film_can_be_computed()
{
    std::vector<char> whole(1000);
    test::film_bytes(7, 0, whole);
    for (int begin = 0; begin < 40; ++begin) {
        std::vector<char> part(333);
        test::film_bytes(7, begin, part);
        CHECK(std::equal(part.begin(), part.end(), whole.begin() + begin));
    }
    std::vector<char> other(1000);
    test::film_bytes(8, 0, other);
    CHECK(other != whole);
}

void a_film_arrives(kind how, int files, int seeders)
{
    test::film const& film = test::shared_film(size, 1, files);
    auto const torrent = test::make_torrent(film, piece, how);
    CHECK(torrent->v1() == (how != kind::v2));
    CHECK(torrent->v2() == (how != kind::v1));
    std::vector<std::unique_ptr<test::seeder>> all;
    test::leecher leecher(torrent, lt::mmap_disk_io_constructor);
    for (int i = 0; i < seeders; ++i) {
        all.push_back(std::make_unique<test::seeder>(film, torrent));
        leecher.connect(all.back()->port());
    }
    leecher.wait_finished();
    CHECK(leecher.seen().clean());
    CHECK(leecher.seen().connects <= seeders); // a small film may be there before the last is
    CHECK(leecher.wrong_pieces(film).empty());
    CHECK(film.is_at(leecher.save_path()));
    if (!leecher.seen().clean()) std::fprintf(stderr, "%s\n", leecher.seen().summary().c_str());
}

void a_damaged_piece_is_seen(kind how)
{
    test::film const film(size, 2);
    auto const torrent = test::make_torrent(film, piece, how);
    film.damage(torrent->files(), lt::piece_index_t(3), 1000);
    CHECK(!film.is_at(film.path()));
    test::seeder const liar(film, torrent);
    test::leecher leecher(torrent, lt::mmap_disk_io_constructor);
    leecher.connect(liar.port());
    leecher.wait_despite_errors(
        "a bad hash", 20s, [&] { return !leecher.seen().hash_failed.empty(); });
    CHECK(leecher.seen().hash_failed.at(0) == 3);
    CHECK(!leecher.seen().clean());
    leecher.wait_despite_errors("a ban", 20s, [&] { return !leecher.seen().bans.empty(); });
}

void a_wait_ends_and_says_for_what()
{
    test::film const& film = test::shared_film(size);
    auto const torrent = test::make_torrent(film, piece, kind::v1);
    test::leecher leecher(torrent, lt::mmap_disk_io_constructor);
    std::string what;
    try {
        leecher.wait_piece(5, 100ms);
    } catch (test::timed_out const& e) {
        what = e.what();
    }
    CHECK(what.find("piece 5 finished") != std::string::npos);
    CHECK(what.find("0 peers") != std::string::npos);
}

void what_hangs_is_ended_and_leaves_nothing()
{
    int ends[2];
    CHECK(::pipe(ends) == 0);
    pid_t const pid = ::fork(); // no session lives
    if (pid == 0) {
        ::close(2); // or its message would look like a failure of this test
        test::temp_dir const dir("rig");
        test::film const film(1000);
        std::string const paths = dir.path() + "\n" + film.path() + "\n";
        if (::write(ends[1], paths.data(), paths.size()) < 0) ::_exit(1);
        test::watchdog const guard("something that hangs", 50ms);
        for (;;) ::pause();
    }
    ::close(ends[1]);
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    char paths[1000];
    ssize_t const n = ::read(ends[0], paths, sizeof paths);
    ::close(ends[0]);
    CHECK(n > 0);
    std::istringstream lines(std::string(paths, std::size_t(std::max<ssize_t>(n, 0))));
    for (std::string path; std::getline(lines, path);) CHECK(::access(path.c_str(), F_OK) != 0);
}

void upload_can_be_limited()
{
    test::film const& film = test::shared_film(size);
    auto const torrent = test::make_torrent(film, piece, kind::v1);
    test::seeder_options slow;
    slow.upload_limit = 1 << 20;
    test::seeder seeder(film, torrent, slow);
    test::leecher leecher(torrent, lt::mmap_disk_io_constructor);
    leecher.connect(seeder.port());
    leecher.wait("some pieces", 10s, [&] { return leecher.seen().pieces.size() >= 10; });
    // The limit lets a burst through, but five times a second's worth is not there at once.
    CHECK(leecher.seen().finishes == 0);
    seeder.limit_upload(0);
    leecher.wait_finished();
    CHECK(leecher.seen().clean());
}

void only_what_is_wanted_comes()
{
    test::film const& film = test::shared_film(size);
    auto const torrent = test::make_torrent(film, piece, kind::v1);
    test::seeder const seeder(film, torrent);
    test::leecher leecher(torrent, lt::mmap_disk_io_constructor);
    leecher.want_only(10, 20);
    leecher.connect(seeder.port());
    leecher.wait_finished();
    CHECK(leecher.seen().pieces.size() == 10);
}

} // namespace

int main()
{
    run("any range of a film can be computed", any_range_of_a_film_can_be_computed);
    for (kind const how : { kind::v1, kind::v2, kind::hybrid })
        for (int const files : { 1, 4 })
            for (int const seeders : { 1, 3 })
                run(std::string("a film arrives: ") + test::name(how) + ", " + std::to_string(files)
                        + " files, " + std::to_string(seeders) + " seeders",
                    [=] { a_film_arrives(how, files, seeders); });
    for (kind const how : { kind::v1, kind::v2, kind::hybrid })
        run(std::string("a damaged piece is seen: ") + test::name(how),
            [=] { a_damaged_piece_is_seen(how); });
    run("a wait ends and says for what", a_wait_ends_and_says_for_what);
    run("what hangs is ended and leaves nothing", what_hangs_is_ended_and_leaves_nothing);
    run("upload can be limited", upload_can_be_limited);
    run("only what is wanted comes", only_what_is_wanted_comes);
    return failures ? 1 : 0;
}
