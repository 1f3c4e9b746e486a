package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	postTimeout = 30 * time.Second
	// nap is how long the schedule sleeps at most before it looks at the clock again.
	nap = time.Millisecond
)

// postEvents sends every array when it is due, over a fixed number of connections.
func postEvents(chosen options, plan *plan) error {
	jobs := make(chan int, plan.count/plan.batch+1)
	failures := make(chan error, chosen.conns)
	var workers sync.WaitGroup
	for range chosen.conns {
		workers.Add(1)
		go func() {
			defer workers.Done()
			if err := newPoster(chosen.post, plan).work(jobs); err != nil {
				failures <- err
			}
		}()
	}
	for event := 0; event < plan.count; event += plan.batch {
		waitUntil(plan, plan.due(event))
		jobs <- event
	}
	close(jobs)
	workers.Wait()
	close(failures)
	var all error
	for err := range failures {
		all = errors.Join(all, err)
	}
	return all
}

func waitUntil(plan *plan, due int64) {
	for left := due - plan.now(); left > 0; left = due - plan.now() {
		time.Sleep(min(time.Duration(left), nap))
	}
}

// poster is one keep-alive connection. It writes requests itself: net/http would cost as much as
// the gateway that is measured beside it.
type poster struct {
	address string
	plan    *plan
	socket  net.Conn
	reader  *bufio.Reader
	body    bytes.Buffer
	head    bytes.Buffer
}

func newPoster(address string, plan *plan) *poster {
	return &poster{address: address, plan: plan}
}

func (p *poster) work(jobs <-chan int) error {
	defer func() {
		if p.socket != nil {
			_ = p.socket.Close()
		}
	}()
	for event := range jobs {
		if err := p.post(event); err != nil {
			return fmt.Errorf("post: %w", err)
		}
	}
	return nil
}

// post sends the array that begins with this event and notes when it was acknowledged.
func (p *poster) post(first int) error {
	if p.socket == nil {
		socket, err := net.DialTimeout("tcp", p.address, postTimeout)
		if err != nil {
			return err
		}
		p.socket, p.reader = socket, bufio.NewReaderSize(socket, 64*1024)
	}
	p.write(first)
	_ = p.socket.SetDeadline(time.Now().Add(postTimeout))
	buffers := net.Buffers{p.head.Bytes(), p.body.Bytes()}
	if _, err := buffers.WriteTo(p.socket); err != nil {
		return err
	}
	answer, err := http.ReadResponse(p.reader, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	now := p.plan.now()
	if answer.StatusCode != http.StatusAccepted {
		p.plan.refused.Add(int64(p.plan.batch))
		return nil
	}
	accepted := bytes.Count(content, []byte(`"accepted"`))
	p.plan.refused.Add(int64(p.plan.batch - accepted))
	if accepted == p.plan.batch {
		for event := first; event < first+p.plan.batch; event++ {
			p.plan.acked[event].Store(now)
		}
	}
	return nil
}

func (p *poster) write(first int) {
	p.body.Reset()
	p.head.Reset()
	who := fmt.Sprintf("X-User: %s\r\n", p.plan.user(first))
	if p.plan.batch > 1 {
		who = "X-User: backend\r\nX-Role: service\r\n"
		p.body.WriteByte('[')
	}
	for event := first; event < first+p.plan.batch; event++ {
		if event > first {
			p.body.WriteByte(',')
		}
		p.plan.request(&p.body, event, p.plan.batch > 1)
	}
	if p.plan.batch > 1 {
		p.body.WriteByte(']')
	}
	fmt.Fprintf(&p.head, "POST /v1/rooms/%s/events HTTP/1.1\r\nHost: %s\r\n%s"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		p.plan.rooms[p.plan.room(first)], p.address, who, p.body.Len())
}

// feedLines writes each event as one line "<room>\t<fact>" when it is due.
func feedLines(address string, plan *plan) error {
	socket, err := net.DialTimeout("tcp", address, postTimeout)
	if err != nil {
		return err
	}
	defer socket.Close()
	var line bytes.Buffer
	for event := range plan.count {
		waitUntil(plan, plan.due(event))
		line.Reset()
		line.WriteString(plan.rooms[plan.room(event)])
		line.WriteByte('\t')
		plan.fact(&line, event)
		line.WriteByte('\n')
		if _, err := socket.Write(line.Bytes()); err != nil {
			return fmt.Errorf("feed: %w", err)
		}
		plan.acked[event].Store(max(plan.now(), 1))
	}
	return nil
}
