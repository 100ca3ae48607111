#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compare Fjord's JSON with Python's json module over random values.

    json_oracle.py ECHO [COUNT [SEED]]   ECHO: the built tests/fuzz/json_echo.c
    json_oracle.py --write FILE          write the pairs that json_test replays: a text, then Python's answer to it
"""
import json
import random
import struct
import subprocess
import sys


def real(r):
    while True:
        x = struct.unpack('<d', r.randbytes(8))[0]
        return r.choice([x, r.random(), float(r.randint(-10**6, 10**6)), 10.0 ** r.randint(-320, 308),
                         r.randint(1, 9999) / 100, float('nan'), float('inf'), float('-inf'), 0.0, -0.0, 5e-324,
                         2.0 ** r.randint(-1074, 1023)])


def text(r):
    kinds = [lambda: chr(r.randint(32, 126)), lambda: chr(r.randint(0, 31)), lambda: r.choice('"\\/\x7f\u2028'),
             lambda: chr(r.randint(0x80, 0x7ff)), lambda: chr(r.randint(0x800, 0xd7ff)),
             lambda: chr(r.randint(0xe000, 0xffff)), lambda: chr(r.randint(0x10000, 0x10ffff))]
    return ''.join(r.choice(kinds)() for _ in range(r.choice([0, 1, 3, 8, 30])))


def value(r, depth=0):
    kind = r.randint(0, 9 if depth < 6 else 7)
    if kind == 0:
        return r.choice([None, True, False])
    if kind in (1, 2):
        return r.choice([r.randint(-100, 100), r.randint(-2**63, 2**63 - 1), r.randint(-2**200, 2**200),
                         2**63, 2**63 - 1, -2**63, -2**63 - 1])
    if kind in (3, 4):
        return real(r)
    if kind in (5, 6, 7):
        return text(r)
    if kind == 8:
        return [value(r, depth + 1) for _ in range(r.randint(0, 6))]
    return {text(r).replace('\0', '0'): value(r, depth + 1) for _ in range(r.randint(0, 6))}


def spelled(r, v):
    """One of the texts for a value, on one line."""
    return json.dumps(v, ensure_ascii=r.random() < 0.5, separators=r.choice([None, (',', ':'), (' ,\t', ' :  ')]))


REFUSED = ['', ' ', 'nul', 'nan', 'inf', '+1', '01', '-01', '1.', '.5', '1e', '1e+', '-', '--1', '0x10', '1_0', '"',
           '"a', "'a'", r'"\x41"', r'"\u12"', r'"\u12g4"', '"\\', '"a\tb"', '[', '[1', '[1,', '[1,]', '[,1]', '[1 2]',
           ']', '{', '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{a:1}', '{1:1}', '{"a" 1}', '{,}', '[1]]',
           '1 2', 'truefalse', 'NaNN', '-NaN', '-infinity', 'Infinityy', '/**/1', '[1}', '{"a":1]', '\ufeff1', '\f1',
           '\v1', '\xa01']
TAKEN = ['1e400', '-1e400', '1e-400', '-0', '-0.0', '0e5', '1E5', '1E+05', ' [ ] ', ' { } ', '{"a":1,"b":2,"a":3}',
         r'"\/\b\f\n\r\t\"\\"', r'"\ud83d\ude00\uD83D\uDE00"', r'"\u0000a\u0000"', '"\x7f"', '[[[[[[]]]]]]',
         '1.7976931348623157e308', '2.2250738585072014e-308', '4.9e-324', '0.1', '100.0', '1e15', '1e16', '1e22', '1e23',
         '123456789.125', '0.0001', '0.00001', '9007199254740993', '9007199254740993.0', '1' + '0' * 400,
         '[NaN,Infinity,-Infinity]', '"__fjord__"', '{"__fjord__":"other"}', '{"__fjord__":"int","digits":"x"}']


def write(path):
    r = random.Random(1)
    with open(path, 'w', encoding='utf-8', newline='\n') as f:
        for t in REFUSED:
            try:
                json.loads(t)
                raise SystemExit('Python takes %r' % t)
            except ValueError:
                f.write(t + '\nrefused\n')
        for t in TAKEN + [spelled(r, value(r)) for _ in range(300)]:
            f.write(t + '\n' + json.dumps(json.loads(t)) + '\n')


def compare(echo, count, seed):
    r = random.Random(seed)
    values = [value(r) for _ in range(count)]
    texts = REFUSED[1:] + TAKEN + [spelled(r, v) for v in values]
    done = subprocess.run([echo], input='\n'.join(texts) + '\n', capture_output=True, check=True, encoding='utf-8')
    answers = done.stdout.split('\n')[:-1]
    assert len(answers) == len(texts), (len(answers), len(texts))
    wrong = other = 0
    for t, answer in zip(texts, answers):
        try:
            want = json.dumps(json.loads(t))
        except ValueError:
            want = 'refused'
        if want == answer:
            continue
        if want != 'refused' and answer != 'refused' and json.dumps(json.loads(answer)) == want:
            other += 1  # the same value in other digits
            continue
        wrong += 1
        print('text   %r\nPython %s\nFjord  %s' % (t, want, answer))
    print('%d texts compared, seed %d: %d equal but in other digits, %d wrong' % (len(texts), seed, other, wrong))
    return 1 if wrong else 0


if __name__ == '__main__':
    if sys.argv[1] == '--write':
        write(sys.argv[2])
    else:
        sys.exit(compare(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20000,
                         int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(2**32)))
