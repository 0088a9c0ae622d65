package tokens

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	_ "modernc.org/sqlite"
)

var statement = regexp.MustCompile("const (\\w+) = `([^`]*)`")

// statements returns the SQL statements in the examples of package fencing, keyed by the
// name of the Go constant.
func statements(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../leaderelection/fencing/example_test.go")
	must(t, err)
	found := map[string]string{}
	for _, match := range statement.FindAllStringSubmatch(string(text), -1) {
		found[match[1]] = match[2]
	}
	if found["begin"] == "" || found["update"] == "" {
		t.Fatalf("the examples' statements are %v, want begin and update", found)
	}
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDatabase returns a database with two accounts. The database permits only one
// connection, so transactions run one after the other. In a database with several
// connections, the SQL statement in the constant begin ensures this order, because it
// locks the Lease's row.
func newDatabase(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "db"))
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	db.SetMaxOpenConns(1)
	for _, statement := range []string{
		`CREATE TABLE leadership (lease TEXT PRIMARY KEY, token BIGINT NOT NULL)`,
		`INSERT INTO leadership VALUES ('my-app-leader', 0)`,
		`CREATE TABLE accounts (id TEXT PRIMARY KEY, balance INT NOT NULL, token BIGINT NOT NULL)`,
		`INSERT INTO accounts VALUES ('alice', 100, 0), ('bob', 100, 0)`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		must(t, err)
	}
	return db
}

// If each write is in a transaction, a leader can insert, update and delete rows until
// the leader of a later term commits a transaction.
func TestBegin_EndsAllWritesOfAnEarlierTerm(t *testing.T) {
	begin, db := statements(t)["begin"], newDatabase(t)
	transaction := func(token int64, write string) bool {
		tx, err := db.BeginTx(t.Context(), nil)
		must(t, err)
		if changed(t, tx, begin, token, "my-app-leader") == 0 {
			must(t, tx.Rollback())
			return false
		}
		if changed(t, tx, write) == 0 {
			t.Errorf("%q changes no row", write)
		}
		must(t, tx.Commit())
		return true
	}
	for _, step := range []struct {
		token  int64
		write  string
		passes bool
	}{
		{41, `UPDATE accounts SET balance = 90 WHERE id = 'alice'`, true},
		{41, `INSERT INTO accounts VALUES ('carol', 1, 0)`, true},
		{57, `UPDATE accounts SET balance = 80 WHERE id = 'alice'`, true},
		{41, `UPDATE accounts SET balance = 70 WHERE id = 'alice'`, false},
		{41, `UPDATE accounts SET balance = 70 WHERE id = 'bob'`, false},
		{41, `INSERT INTO accounts VALUES ('dave', 1, 0)`, false},
		{41, `DELETE FROM accounts WHERE id = 'carol'`, false},
		{57, `DELETE FROM accounts WHERE id = 'carol'`, true},
	} {
		if passed := transaction(step.token, step.write); passed != step.passes {
			t.Errorf("term %d, %s: passed = %t", step.token, step.write, passed)
		}
	}
}

// Without transactions, the leader of an earlier term cannot change a row after the
// leader of a later term has changed the same row. The earlier leader can still change
// other rows.
func TestUpdate_EndsTheWritesOfAnEarlierTermRowByRow(t *testing.T) {
	update, db := statements(t)["update"], newDatabase(t)
	for _, step := range []struct {
		token   int64
		account string
		rows    int64
	}{{41, "alice", 1}, {57, "alice", 1}, {41, "alice", 0}, {41, "bob", 1}, {57, "bob", 1}, {41, "bob", 0}} {
		if n := changed(t, db, update, step.token, step.account, 50); n != step.rows {
			t.Errorf("term %d writes %s: %d rows, want %d", step.token, step.account, n, step.rows)
		}
	}
}

type executor interface {
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
}

func changed(t *testing.T, db executor, statement string, args ...any) int64 {
	t.Helper()
	result, err := db.ExecContext(t.Context(), statement, args...)
	must(t, err)
	n, err := result.RowsAffected()
	must(t, err)
	return n
}
