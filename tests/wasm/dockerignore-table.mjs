// Patterns of `.dockerignore`. Expected values are written by hand from Docker's documentation and from the rules of Go's
// filepath.Match; the odd ones are cases that builders of images are known to differ in. tests/buildah asks a real builder.

/** Patterns, paths that are left out, paths that are not. A path of a directory ends with a slash here. */
export default [
  // Anchored at the root, where .gitignore is not.
  [['node_modules'], ['node_modules/', 'node_modules/x.js'], ['sub/node_modules/', 'sub/node_modules/x.js']],
  [['*.log'], ['a.log', '.log'], ['sub/a.log', 'a.log.txt', 'A.LOG']],
  [['*/temp*'], ['somedir/temporary.txt', 'somedir/temp/', 'somedir/temp/x'], ['temp', 'a/b/temp']],
  [['*/*/temp*'], ['somedir/subdir/temporary.txt'], ['somedir/temp']],
  [['temp?'], ['tempa', 'tempb/', 'tempb/x'], ['temp', 'tempab']],
  [['**/*.go'], ['a.go', 'sub/a.go', 'a/b/c/d.go'], ['a.gox', 'go']],
  // The last that fits decides.
  [['*.md', '!README.md'], ['a.md'], ['README.md']],
  [
    ['*.md', '!README*.md', 'README-secret.md'],
    ['a.md', 'README-secret.md'],
    ['README.md', 'README-x.md'],
  ],
  [['*.md', 'README-secret.md', '!README*.md'], ['a.md'], ['README-secret.md']],
  // `!` reaches into directories that are left out: .gitignore cannot.
  [['docs', '!docs/keep.md'], ['docs/', 'docs/a.md', 'docs/sub/keep.md'], ['docs/keep.md']],
  [
    ['*', '!src'],
    ['a', 'lib/', 'lib/x'],
    ['src/', 'src/a', 'src/b/c'],
  ],
  [['*', '!src', 'src/gen'], ['src/gen/', 'src/gen/x'], ['src/a']],
  [
    ['**', '!**/*.txt'],
    ['a', 'sub/', 'sub/b.md'],
    ['a.txt', 'sub/b.txt'],
  ],
  // Slashes and dots around a pattern say nothing.
  [['/foo/bar'], ['foo/bar'], ['x/foo/bar']],
  [['foo/bar/'], ['foo/bar', 'foo/bar/', 'foo/bar/x'], ['foo/barx']],
  [['./foo'], ['foo'], ['x/foo']],
  [['a/../b'], ['b'], ['a', 'a/b']],
  [['a//b'], ['a/b'], ['ab']],
  [['.'], [], ['a', '.a']],
  [['/'], [], ['a']],
  // Blanks around it, comments, empty lines, a mark of byte order, ends of lines of Windows.
  [['  foo  '], ['foo'], ['  foo  ']],
  [['! keep', '# x', ''], [], ['keep', '# x', 'x']],
  [['*', '! keep'], ['x'], ['keep']],
  [['\uFEFFfoo'], ['foo'], []],
  [['foo\r'], ['foo'], []],
  [[' #foo'], ['#foo'], ['foo']],
  [
    ['\\#foo', '\\!bar'],
    ['#foo', '!bar'],
    ['foo', 'bar'],
  ],
  // Two stars.
  [['**'], ['a', 'a/b', '.x/'], []],
  [['a/**'], ['a/x', 'a/x/y'], ['a', 'ab', 'b/a/x']],
  [['a/**/b'], ['a/b', 'a/x/b', 'a/x/y/b', 'a/b/z'], ['ab', 'a/bb', 'x/a/b']],
  [['**/foo'], ['foo', 'a/foo', 'a/b/foo/'], ['xfoo', 'foox']],
  [['**foo'], ['foo', 'xfoo', 'a/xfoo'], ['foox']],
  [['**fo?'], ['foo', 'a/foo'], ['xfoo']],
  [['a**b'], ['ab', 'ax/b', 'ax/y/b'], ['axb']],
  [['a**'], ['a', 'ab', 'a/b', 'ab/c'], ['ba']],
  [['**/a/**/c'], ['a/c', 'x/a/c', 'x/a/y/z/c'], ['a', 'c']],
  // One star is of one name, and of names that begin with a dot too.
  [['*'], ['a', '.a', 'a/', 'a/b'], []],
  [['a*c'], ['ac', 'abc', 'a.c'], ['a/c']],
  [['*/*'], ['a/b', 'a/b/c'], ['a']],
  [['?'], ['a', 'ä', '😀'], ['ab', '']],
  // Classes. `^` turns one round, `!` is a character.
  [['[a-c].js'], ['a.js', 'c.js'], ['d.js', 'B.js', '-.js']],
  [['[^a-c].js'], ['d.js'], ['a.js']],
  [['[!a].js'], ['!.js', 'a.js'], ['b.js']],
  [['[\\]x]'], [']', 'x'], ['\\']],
  [['[\\-x]'], ['-', 'x'], ['y']],
  [['[*?]'], ['*', '?'], ['a']],
  [['a]b'], ['a]b'], ['ab']],
  // What is special to regular expressions is not special here.
  [['a.b'], ['a.b'], ['axb']],
  [['a+(b)|c{1}$^'], ['a+(b)|c{1}$^'], ['aab']],
  [['\\*'], ['*'], ['a']],
  [['foo bar'], ['foo bar'], ['foo']],
];
