package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	readBytes        = 1 << 20
	epollEvents      = 512
	epollWaitMillis  = 50
	handshakesAtOnce = 32
	handshakeTimeout = 20 * time.Second
)

// viewer is one socket: its place in the arrivals table and what has come in part.
type viewer struct {
	fd     int
	room   int
	number int
	rest   []byte
}

// crowd is all viewers, served by one thread.
type crowd struct {
	protocol protocol
	plan     *plan
	seen     *arrivals
	epoll    int
	viewers  map[int32]*viewer
	frames   int64
	bytes    int64
	skipped  int64
	closed   int64
}

// connect brings all viewers into their rooms and returns when each has been welcomed.
func connect(chosen options, plan *plan, seen *arrivals) (*crowd, error) {
	spoken, err := protocolOf(chosen.protocol)
	if err != nil {
		return nil, err
	}
	epoll, err := syscall.EpollCreate1(0)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	made := &crowd{protocol: spoken, plan: plan, seen: seen, epoll: epoll,
		viewers: map[int32]*viewer{}}
	var lock sync.Mutex
	var firstError error
	var pending sync.WaitGroup
	slots := make(chan struct{}, handshakesAtOnce)
	pace := time.NewTicker(time.Duration(float64(time.Second) / chosen.joinRate))
	defer pace.Stop()
	for index := range chosen.rooms * chosen.viewers {
		<-pace.C
		slots <- struct{}{}
		pending.Add(1)
		go func() {
			defer func() { <-slots; pending.Done() }()
			joined, err := made.join(chosen.watch, index/chosen.viewers, index%chosen.viewers)
			lock.Lock()
			defer lock.Unlock()
			if err != nil {
				firstError = errors.Join(firstError, err)
				return
			}
			made.viewers[int32(joined.fd)] = joined
		}()
	}
	pending.Wait()
	if firstError != nil {
		made.close()
		return nil, firstError
	}
	return made, made.register()
}

// join does one handshake on a blocking socket.
func (c *crowd) join(address string, room, number int) (*viewer, error) {
	fd, err := dial(address)
	if err != nil {
		return nil, fmt.Errorf("viewer %d of room %d: %w", number, room, err)
	}
	joined := &viewer{fd: fd, room: room, number: number}
	name := c.plan.rooms[room]
	if err := c.handshake(joined, address, name, room*1_000_000+number); err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("viewer %d of room %s: %w", number, name, err)
	}
	return joined, nil
}

func (c *crowd) handshake(joined *viewer, address, room string, number int) error {
	if err := writeAll(joined.fd, []byte(c.protocol.upgrade(address, room, number))); err != nil {
		return err
	}
	buffer := make([]byte, 64*1024)
	upgraded := false
	for {
		count, err := syscall.Read(joined.fd, buffer)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || count == 0 {
			return fmt.Errorf("handshake: read %d bytes: %w", count, errors.Join(err))
		}
		joined.rest = append(joined.rest, buffer[:count]...)
		if !upgraded {
			head, rest, found := bytes.Cut(joined.rest, []byte("\r\n\r\n"))
			if !found {
				continue
			}
			if !bytes.HasPrefix(head, []byte("HTTP/1.1 101")) {
				return fmt.Errorf("handshake: %s", bytes.SplitN(head, []byte("\r\n"), 2)[0])
			}
			upgraded, joined.rest = true, rest
			for _, greeting := range c.protocol.greetings(room) {
				if err := writeAll(joined.fd, clientFrame(opText, []byte(greeting))); err != nil {
					return err
				}
			}
		}
		for {
			_, payload, rest, ok := nextFrame(joined.rest)
			if !ok {
				break
			}
			joined.rest = rest
			if c.protocol.welcomed(payload) {
				return nil
			}
		}
	}
}

func (c *crowd) register() error {
	for fd := range c.viewers {
		if err := syscall.SetNonblock(int(fd), true); err != nil {
			return err
		}
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: fd}
		if err := syscall.EpollCtl(c.epoll, syscall.EPOLL_CTL_ADD, int(fd), &event); err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
	}
	return nil
}

// follow reads all sockets until told to stop.
func (c *crowd) follow(stop <-chan struct{}) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]syscall.EpollEvent, epollEvents)
	buffer := make([]byte, readBytes)
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		count, err := syscall.EpollWait(c.epoll, events, epollWaitMillis)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, event := range events[:max(count, 0)] {
			c.read(c.viewers[event.Fd], buffer)
		}
	}
}

// read takes in what one socket has.
func (c *crowd) read(from *viewer, buffer []byte) {
	count, err := syscall.Read(from.fd, buffer)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return
	}
	if err != nil || count == 0 {
		c.drop(from)
		return
	}
	now := c.plan.now()
	c.bytes += int64(count)
	data := buffer[:count]
	if len(from.rest) > 0 {
		from.rest = append(from.rest, data...)
		data = from.rest
	}
	for {
		opcode, payload, rest, ok := nextFrame(data)
		if !ok {
			break
		}
		data = rest
		c.frame(from, opcode, payload, now)
	}
	from.rest = append(from.rest[:0], data...)
}

func (c *crowd) frame(from *viewer, opcode byte, payload []byte, now int64) {
	switch opcode {
	case opClose:
		c.closed++
	case opPing:
		_ = writeAll(from.fd, clientFrame(opPong, payload))
	case opText:
		c.frames++
		if answer := c.protocol.reply(payload); answer != nil {
			_ = writeAll(from.fd, clientFrame(opText, answer))
		}
		if bytes.Contains(payload[:min(len(payload), 32)], []byte(`"skipped"`)) {
			c.skipped++
		}
		c.plan.find(payload, func(event int) { c.seen.arrive(event, from, now) })
	}
}

func (c *crowd) drop(gone *viewer) {
	c.closed++
	_ = syscall.EpollCtl(c.epoll, syscall.EPOLL_CTL_DEL, gone.fd, nil)
	_ = syscall.Close(gone.fd)
	delete(c.viewers, int32(gone.fd))
}

func (c *crowd) close() {
	for fd := range c.viewers {
		_ = syscall.Close(int(fd))
	}
	_ = syscall.Close(c.epoll)
}

// dial opens a blocking socket, outside Go's poller.
func dial(address string) (int, error) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	port, err := strconv.Atoi(digits)
	if err != nil {
		return 0, err
	}
	ip := net.ParseIP(host).To4()
	if ip == nil {
		return 0, fmt.Errorf("%q is not an IPv4 address", host)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	limit := syscall.NsecToTimeval(int64(handshakeTimeout))
	if err := errors.Join(
		syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit),
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1),
		connectTo(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte(ip)}),
	); err != nil {
		_ = syscall.Close(fd)
		return 0, err
	}
	return fd, nil
}

// connectTo connects a blocking socket. A signal interrupts the call, not the connecting: asking
// again tells how far it is. (Go's scheduler sends signals all the time.)
func connectTo(fd int, address *syscall.SockaddrInet4) error {
	for {
		err := syscall.Connect(fd, address)
		switch {
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EALREADY):
			time.Sleep(time.Millisecond)
		case errors.Is(err, syscall.EISCONN):
			return nil
		default:
			return err
		}
	}
}
