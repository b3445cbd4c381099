package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	requestTimeout = 2 * time.Minute
	retryAfter     = 10 * time.Millisecond // an error that repeats itself must not become a busy loop
)

// answered is a request that was answered with 200.
type answered struct {
	began time.Time
	took  time.Duration
}

// client has one connection and asks one thing at a time.
type client struct {
	*options
	path       int
	connection *tls.Conn
	reader     *bufio.Reader
	request    []byte
	answered   []answered
	bytes      int64
	errors     map[string]int
	negotiated string
}

// work asks until the end; what began before it is counted is not.
func (c *client) work(counted, end time.Time) {
	defer c.disconnect()
	for {
		began, ok := c.begin(end)
		if !ok {
			return
		}
		size, err := c.ask()
		if began.Before(counted) {
			continue
		}
		if err != nil {
			c.errors[err.Error()]++
			time.Sleep(retryAfter)
			continue
		}
		c.answered = append(c.answered, answered{began, time.Since(began)})
		c.bytes += size
	}
}

// begin waits until the next request is due, and returns when it was: at a steady rate, a request that had to wait for
// a free client has waited since it was due; one that did not began when its client woke, however coarse the timer.
func (c *client) begin(end time.Time) (time.Time, bool) {
	now := time.Now()
	if c.rate == 0 {
		return now, now.Before(end)
	}
	first := end.Add(-c.warmup - c.duration)
	due := first.Add(seconds(float64(c.turn.Add(1)) / c.rate))
	if !due.Before(end) {
		return due, false
	}
	if due.After(now) {
		time.Sleep(due.Sub(now))
		return time.Now(), true
	}
	c.late.Add(1)
	return due, true
}

// ask sends a request and reads the answer; it returns how long the body was.
func (c *client) ask() (int64, error) {
	if c.fresh {
		c.disconnect()
	}
	if c.connection == nil {
		if err := c.connect(); err != nil {
			return 0, err
		}
	}
	path := c.paths[c.path]
	c.path = (c.path + 1) % len(c.paths)
	c.request = fmt.Appendf(c.request[:0], "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n", c.method, path, c.address)
	if c.body != "" {
		body := strings.ReplaceAll(c.body, "#", strconv.FormatInt(c.number.Add(1), 10))
		c.request = fmt.Appendf(c.request, "Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", c.contentType, len(body), body)
	} else {
		c.request = append(c.request, "\r\n"...)
	}
	_ = c.connection.SetDeadline(time.Now().Add(requestTimeout))
	if _, err := c.connection.Write(c.request); err != nil {
		return 0, c.broken("write", err)
	}
	status, size, last, err := c.answer()
	if err != nil {
		return 0, c.broken("read", err)
	}
	if last {
		c.disconnect()
	}
	if status != "200" {
		return 0, fmt.Errorf("status %s", status)
	}
	return size, nil
}

// answer reads an answer to its end, and tells its status, the body's length, and whether the server closes.
func (c *client) answer() (status string, size int64, last bool, err error) {
	line, err := c.line()
	if err != nil {
		return "", 0, false, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return "", 0, false, fmt.Errorf("not HTTP/1.1")
	}
	status = string(line[9:12])
	length, chunked := int64(-1), false
	for {
		if line, err = c.line(); err != nil {
			return "", 0, false, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == len("content-length") && bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return "", 0, false, err
			}
		case len(name) == len("transfer-encoding") && bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case len(name) == len("connection") && bytes.EqualFold(name, []byte("connection")):
			last = bytes.EqualFold(value, []byte("close"))
		}
	}
	switch {
	case chunked:
		size, err = c.chunks()
	case length >= 0:
		size, err = length, c.skip(length)
	default:
		err = fmt.Errorf("neither a length nor chunks")
	}
	return status, size, last, err
}

func (c *client) chunks() (int64, error) {
	total := int64(0)
	for {
		line, err := c.line()
		if err != nil {
			return 0, err
		}
		length, err := strconv.ParseInt(string(line), 16, 64)
		if err != nil {
			return 0, err
		}
		if err := c.skip(length + 2); err != nil { // and the line's end
			return 0, err
		}
		if length == 0 {
			return total, nil
		}
		total += length
	}
}

func (c *client) skip(size int64) error {
	_, err := c.reader.Discard(int(size))
	return err
}

// line returns the next line without its end; it is overwritten by what is read next.
func (c *client) line() ([]byte, error) {
	line, err := c.reader.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

func (c *client) connect() error {
	plain, err := net.DialTimeout("tcp", c.address, requestTimeout)
	if err != nil {
		return c.broken("connect", err)
	}
	c.connection = tls.Client(plain, c.tls)
	_ = c.connection.SetDeadline(time.Now().Add(requestTimeout))
	if err := c.connection.Handshake(); err != nil {
		return c.broken("handshake", err)
	}
	if c.reader == nil {
		c.reader = bufio.NewReaderSize(c.connection, 64<<10)
	} else {
		c.reader.Reset(c.connection)
	}
	state := c.connection.ConnectionState()
	c.negotiated = tls.VersionName(state.Version) + " " + tls.CipherSuiteName(state.CipherSuite)
	return nil
}

// broken gives up the connection. Addresses are left out of what it says, so that equal errors are counted as one.
func (c *client) broken(when string, err error) error {
	c.disconnect()
	text := err.Error()
	if _, after, found := strings.Cut(text, "->"); found {
		if _, reason, found := strings.Cut(after, ": "); found {
			text = reason
		}
	}
	return fmt.Errorf("%s: %s", when, text)
}

func (c *client) disconnect() {
	if c.connection != nil {
		_ = c.connection.Close()
		c.connection = nil
	}
}
