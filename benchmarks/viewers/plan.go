package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	markDigits = 8
	// users that comment in turn: no one of them meets a limit on a user's own rate.
	users = 5000
)

// plan says which event belongs to which room, when it is due, and when it was acknowledged.
//
// Events are numbered from 0. The number travels in the text, behind a mark that no other run
// uses, so that viewers find it without parsing JSON.
type plan struct {
	rooms   []string
	count   int
	batch   int
	rate    float64
	warmup  int
	start   time.Time
	mark    []byte
	run     uint32
	padding string
	gift    string
	digits  int
	base    int
	acked   []atomic.Int64
	refused atomic.Int64
}

func newPlan(chosen options) *plan {
	made := &plan{batch: max(chosen.batch, 1), rate: chosen.rate, run: rand.Uint32()}
	for number := range chosen.rooms {
		made.rooms = append(made.rooms, fmt.Sprintf("%s%d", chosen.roomPrefix, number))
	}
	made.count = chosen.events
	if chosen.rate > 0 {
		made.count = int(chosen.rate * (chosen.seconds + chosen.warmup))
		made.warmup = int(chosen.rate * chosen.warmup)
	}
	made.count -= made.count % made.batch
	made.mark, made.digits, made.base = fmt.Appendf(nil, "~%08x=", made.run), markDigits, 10
	made.padding = strings.Repeat("la ", chosen.textBytes/3+1)
	made.padding = made.padding[:max(0, chosen.textBytes-len(made.mark)-markDigits-1)]
	if made.gift = chosen.gift; made.gift != "" {
		// Gifts carry no text: their number is the end of their id. (The id of the request that
		// caused the fact is written in another attribute, which this does not match.)
		made.mark = fmt.Appendf(nil, `"id":"%08x-0000-4000-8000-`, made.run)
		made.digits, made.base = 12, 16
	}
	made.acked = make([]atomic.Int64, made.count)
	return made
}

func (p *plan) begin(start time.Time) { p.start = start }

// room of an event: arrays go to one room each, in turn.
func (p *plan) room(event int) int { return event / p.batch % len(p.rooms) }

// due is when the array that begins with this event is to be sent, ns since the start.
func (p *plan) due(event int) int64 {
	if p.rate <= 0 {
		return 0
	}
	return int64(float64(event-event%p.batch) / p.rate * 1e9)
}

func (p *plan) now() int64 { return int64(time.Since(p.start)) }

// measuredFrom and measuredTo bound the measured time, ns since the start.
func (p *plan) measuredFrom() int64 { return p.due(p.warmup) }
func (p *plan) measuredTo() int64   { return p.due(p.count) }

func (p *plan) id(event int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", p.run, event) }

func (p *plan) text(event int) string {
	return fmt.Sprintf("%s%08d %s", p.mark, event, p.padding)
}

// request appends the event as a client asks for it; actor only where a backend speaks for users.
func (p *plan) request(to *bytes.Buffer, event int, withActor bool) {
	if p.gift != "" {
		fmt.Fprintf(to, `{"id":"%s","type":"gift.send","data":{"gift":"%s"}`, p.id(event), p.gift)
	} else {
		fmt.Fprintf(to, `{"id":"%s","type":"comment.post","data":{"text":"%s"}`,
			p.id(event), p.text(event))
	}
	if withActor {
		fmt.Fprintf(to, `,"actor":"%s"`, p.user(event))
	}
	to.WriteByte('}')
}

func (p *plan) user(event int) string { return fmt.Sprintf("user-%d", event%users) }

// fact appends the event as our gateway hands it to viewers, for a server that is fed with facts.
func (p *plan) fact(to *bytes.Buffer, event int) {
	room := p.rooms[p.room(event)]
	fmt.Fprintf(to, `{"specversion":"1.0","id":"%[1]s","type":"comment.posted",`+
		`"source":"/rooms/%[2]s","time":"%[3]s","datacontenttype":"application/json",`+
		`"dataschema":"urn:live-engagement:schema:comment.posted:1","roomid":"%[2]s",`+
		`"actorid":"%[4]s","mediaepoch":0,"mediapts":%[5]d,"causationid":"%[1]s",`+
		`"data":{"text":"%[6]s"}}`,
		p.id(event), room, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"),
		p.user(event), p.now()/1e6, p.text(event))
}

// find calls back with the number of each of our events in a frame.
func (p *plan) find(frame []byte, found func(event int)) {
	for {
		at := bytes.Index(frame, p.mark)
		if at < 0 || len(frame) < at+len(p.mark)+p.digits {
			return
		}
		frame = frame[at+len(p.mark):]
		event, err := strconv.ParseInt(string(frame[:p.digits]), p.base, 64)
		if err == nil && event < int64(p.count) {
			found(int(event))
		}
		frame = frame[p.digits:]
	}
}

// acknowledged counts the events that the server took.
func (p *plan) acknowledged() int64 {
	var count int64
	for event := range p.acked {
		if p.acked[event].Load() != 0 {
			count++
		}
	}
	return count
}
