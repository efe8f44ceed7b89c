package org.tfcompress.demo

import android.os.Looper
import java.util.concurrent.CountDownLatch
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.shadows.ShadowLooper

@RunWith(RobolectricTestRunner::class)
class WorkerTest {
    private val worker = Worker("test")

    @Test
    fun `work runs in the background, and its result arrives on the main thread`() {
        val seen = mutableListOf<Looper?>()
        worker.run({ Looper.myLooper() }) { seen += listOf(it, Looper.myLooper()) }
        await("the result") { seen.isNotEmpty() }
        assertEquals(listOf(null, Looper.getMainLooper()), seen)
    }

    @Test
    fun `a closed worker finishes its work but drops the results`() {
        val work = mutableListOf<Int>()
        val results = mutableListOf<Int>()
        val isDone = CountDownLatch(1)
        worker.run({ work += 1 }) { results += 1 }
        worker.run(isDone::countDown) { results += 2 }
        worker.close()
        isDone.await()
        Thread.sleep(100)
        ShadowLooper.idleMainLooper()
        assertEquals(listOf(1), work)
        assertTrue("$results", results.isEmpty())
    }

    @Test
    fun `only the latest request has a result, and those between are skipped`() {
        val latest = Latest(worker)
        val hasStarted = CountDownLatch(1)
        val mayEnd = CountDownLatch(1)
        val work = mutableListOf<Int>()
        val results = mutableListOf<Int>()
        latest.run({
            hasStarted.countDown()
            mayEnd.await()
            work += 1
        }) { results += 1 }
        hasStarted.await()
        latest.run({ work += 2 }) { results += 2 }
        latest.run({ work += 3 }) { results += 3 }
        mayEnd.countDown()
        await("a result") { results.isNotEmpty() }
        assertEquals(listOf(1, 3), work)
        assertEquals(listOf(3), results)
    }
}
