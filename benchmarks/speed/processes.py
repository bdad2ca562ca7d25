"""Measurements in processes of their own, which share neither memory nor what was imported."""

import multiprocessing


def in_own_process(function, *arguments, limit=None):
    """What a function returns, or None where it takes more than so many seconds."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=_send, args=(sender, function, *arguments), daemon=True
    )
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(limit) else None
    finally:
        process.kill()
        process.join()


def _send(connection, function, *arguments):
    connection.send(function(*arguments))
