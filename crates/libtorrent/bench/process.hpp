// Work done in a process of its own, so that its CPU time and memory are its own.
#pragma once

#include <cstdint>
#include <cstdio>
#include <exception>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cerrno>
#include <csignal>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bench {

/// CPU seconds (user and system) of this process so far, and its peak resident bytes.
struct usage {
    double cpu;
    std::int64_t peak;

    static usage now()
    {
        rusage r{ };
        ::getrusage(RUSAGE_SELF, &r);
        auto const seconds = [](timeval t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; };
        return { seconds(r.ru_utime) + seconds(r.ru_stime), std::int64_t(r.ru_maxrss) * 1024 };
    }
};

/// A forked child that sends values to its parent. Fork only while no session lives in the parent:
/// a child has none of its parent's threads. The child is killed with its parent, or by the
/// destructor.
class child {
public:
    /// Runs `body(write_end)` in the child, which then exits. What it throws is printed.
    template <class Body> explicit child(Body body)
    {
        int ends[2];
        std::fflush(nullptr); // or the child would print the parent's buffered output again
        pid_t const parent = ::getpid();
        if (::pipe(ends) != 0 || (pid_ = ::fork()) < 0)
            throw std::system_error(errno, std::generic_category(), "no child process");
        if (pid_ > 0) {
            ::close(ends[1]);
            in_ = ends[0];
            return;
        }
        ::close(ends[0]);
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(1); // it died before prctl
        int status = 0;
        try {
            body(ends[1]);
        } catch (std::exception const& e) {
            std::fprintf(stderr, "%s\n", e.what());
            status = 1;
        }
        std::fflush(nullptr);
        ::_exit(status); // not exit: the parent's static objects are not the child's to destroy
    }
    ~child()
    {
        ::close(in_);
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    child(child const&) = delete;
    child& operator=(child const&) = delete;

    /// The next value the child sends; false if it ended without.
    template <class T> bool receive(T& value) const
    {
        static_assert(std::is_trivially_copyable<T>::value, "sent as bytes");
        auto* to = reinterpret_cast<char*>(&value);
        for (std::size_t got = 0; got < sizeof(T);) {
            ssize_t const n = ::read(in_, to + got, sizeof(T) - got);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return false;
            got += std::size_t(n);
        }
        return true;
    }

    /// In the child. Values are smaller than a pipe's atomic write.
    template <class T> static void send(int write_end, T const& value)
    {
        static_assert(std::is_trivially_copyable<T>::value && sizeof(T) <= 512, "one write");
        if (::write(write_end, &value, sizeof(T)) != ssize_t(sizeof(T)))
            throw std::system_error(errno, std::generic_category(), "parent does not listen");
    }

private:
    pid_t pid_ = -1;
    int in_ = -1;
};

} // namespace bench
