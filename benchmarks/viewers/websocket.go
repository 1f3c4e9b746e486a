package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

const (
	opText      = 0x1
	opClose     = 0x8
	opPing      = 0x9
	opPong      = 0xA
	finBit      = 0x80
	maskBit     = 0x80
	headerBytes = 14
)

// protocol is what a viewer says to get into a room, and how it knows that it is in.
type protocol interface {
	// upgrade is the HTTP request of viewer n.
	upgrade(host, room string, viewer int) string
	// greetings are the text frames to send after the upgrade.
	greetings(room string) []string
	// welcomed tells whether this frame says that events follow.
	welcomed(frame []byte) bool
	// reply is what to answer to this frame; nil mostly.
	reply(frame []byte) []byte
}

const upgradeHeaders = "Host: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// engagement speaks the protocol of our gateway, in dev mode.
type engagement struct{}

func (engagement) upgrade(host, room string, viewer int) string {
	return fmt.Sprintf("GET /v1/rooms/%s/live HTTP/1.1\r\n"+upgradeHeaders+
		"Sec-WebSocket-Protocol: engagement.v1\r\nX-User: viewer-%d\r\n\r\n", room, host, viewer)
}
func (engagement) greetings(string) []string { return nil }
func (engagement) welcomed(frame []byte) bool {
	return bytes.Contains(frame[:min(len(frame), 64)], []byte(`"t":"hello"`))
}
func (engagement) reply([]byte) []byte { return nil }

// centrifuge speaks the JSON protocol of the library centrifuge.
type centrifuge struct{}

func (centrifuge) upgrade(host, _ string, _ int) string {
	return fmt.Sprintf("GET /connection/websocket HTTP/1.1\r\n"+upgradeHeaders+"\r\n", host)
}
func (centrifuge) greetings(room string) []string {
	return []string{
		`{"id":1,"connect":{}}`,
		fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q}}`, room),
	}
}
func (centrifuge) welcomed(frame []byte) bool {
	return bytes.Contains(frame, []byte(`"id":2`))
}

// reply answers the server's ping, an empty object, with the same.
func (centrifuge) reply(frame []byte) []byte {
	if bytes.Equal(bytes.TrimSpace(frame), []byte("{}")) {
		return []byte("{}")
	}
	return nil
}

func protocolOf(name string) (protocol, error) {
	switch name {
	case "engagement":
		return engagement{}, nil
	case "centrifuge":
		return centrifuge{}, nil
	}
	return nil, fmt.Errorf("-protocol %q: engagement or centrifuge", name)
}

// nextFrame splits one whole frame off the front; ok is false while it is not there yet.
func nextFrame(buffer []byte) (opcode byte, payload, rest []byte, ok bool) {
	if len(buffer) < 2 {
		return 0, nil, buffer, false
	}
	length, at := uint64(buffer[1]&0x7f), 2
	switch length {
	case 126:
		if len(buffer) < 4 {
			return 0, nil, buffer, false
		}
		length, at = uint64(binary.BigEndian.Uint16(buffer[2:])), 4
	case 127:
		if len(buffer) < 10 {
			return 0, nil, buffer, false
		}
		length, at = binary.BigEndian.Uint64(buffer[2:]), 10
	}
	end := uint64(at) + length
	if uint64(len(buffer)) < end {
		return 0, nil, buffer, false
	}
	return buffer[0] & 0x0f, buffer[at:end], buffer[end:], true
}

// clientFrame is a whole masked frame; the mask is zero, which RFC 6455 allows a client to draw.
func clientFrame(opcode byte, payload []byte) []byte {
	frame := make([]byte, 0, headerBytes+len(payload))
	frame = append(frame, finBit|opcode)
	if len(payload) < 126 {
		frame = append(frame, maskBit|byte(len(payload)))
	} else {
		frame = append(frame, maskBit|126)
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	}
	frame = append(frame, 0, 0, 0, 0)
	return append(frame, payload...)
}

// writeAll writes to a socket that may or may not block.
func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		count, err := syscall.Write(fd, data)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data = data[count:]
	}
	return nil
}
