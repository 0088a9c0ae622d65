package tokens

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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
	for _, name := range []string{"create", "begin", "createAccounts", "update"} {
		if found[name] == "" {
			t.Fatalf("the examples' statements are %v, want %s", found, name)
		}
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
		statements(t)["create"],
		`INSERT INTO leadership VALUES ('my-app-leader', '00000000000000000000')`,
		statements(t)["createAccounts"],
		`INSERT INTO accounts VALUES ('alice', 100, '00000000000000000000'), ('bob', 100, '00000000000000000000')`,
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
	transaction := func(token uint64, write string) bool {
		tx, err := db.BeginTx(t.Context(), nil)
		must(t, err)
		if changed(t, tx, begin, column(token), "my-app-leader") == 0 {
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
		token  uint64
		write  string
		passes bool
	}{
		{41, `UPDATE accounts SET balance = 90 WHERE id = 'alice'`, true},
		{41, `INSERT INTO accounts VALUES ('carol', 1, '00000000000000000000')`, true},
		{57, `UPDATE accounts SET balance = 80 WHERE id = 'alice'`, true},
		{41, `UPDATE accounts SET balance = 70 WHERE id = 'alice'`, false},
		{41, `UPDATE accounts SET balance = 70 WHERE id = 'bob'`, false},
		{41, `INSERT INTO accounts VALUES ('dave', 1, '00000000000000000000')`, false},
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
		token   uint64
		account string
		rows    int64
	}{{41, "alice", 1}, {57, "alice", 1}, {41, "alice", 0}, {41, "bob", 1}, {57, "bob", 1}, {41, "bob", 0}} {
		if n := changed(t, db, update, column(step.token), step.account, 50); n != step.rows {
			t.Errorf("term %d writes %s: %d rows, want %d", step.token, step.account, n, step.rows)
		}
	}
}

// The database compares tokens at the limits of int64, float64 and uint64 like numbers.
func TestStatements_CompareTokensOfEveryLength(t *testing.T) {
	begin, update, db := statements(t)["begin"], statements(t)["update"], newDatabase(t)
	tokens := []uint64{
		1, 9, 10, 1 << 53, 1<<53 + 1, 999999999999999999, 1000000000000000000, 1753647547040015001, 1753647547040015002,
		math.MaxInt64, math.MaxInt64 + 1, math.MaxInt64 + 2, math.MaxUint64 - 1, math.MaxUint64,
	}
	for i, stored := range tokens {
		for _, statement := range [][]any{{begin, "my-app-leader"}, {update, "alice", 50}} {
			try := func(token uint64) int64 {
				return changed(t, db, statement[0].(string), append([]any{column(token)}, statement[1:]...)...)
			}
			if first, second := try(stored), try(stored); first != 1 || second != 1 {
				t.Errorf("%s: term %d cannot write", statement[0], stored)
			}
			for _, lower := range tokens[:i] {
				if try(lower) != 0 {
					t.Errorf("%s: term %d writes after term %d", statement[0], lower, stored)
				}
			}
		}
	}
}

// A token without leading zeros is refused. Otherwise the database would compare it
// wrongly.
func TestStatements_RefuseATokenWithoutLeadingZeros(t *testing.T) {
	begin, update, db := statements(t)["begin"], statements(t)["update"], newDatabase(t)
	for _, token := range []any{"41", int64(41), "1753647547040015001"} {
		for _, statement := range [][]any{{begin, "my-app-leader"}, {update, "alice", 50}} {
			_, err := db.ExecContext(t.Context(), statement[0].(string), append([]any{token}, statement[1:]...)...)
			if err == nil || !strings.Contains(err.Error(), "CHECK constraint failed") {
				t.Errorf("%s with the token %v: %v, want it refused by the CHECK", statement[0], token, err)
			}
		}
	}
}

// column returns a token in the form in which the examples store it.
func column(token uint64) string { return fmt.Sprintf("%020d", token) }

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
